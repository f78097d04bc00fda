"""Firmware releases and roll-outs."""
