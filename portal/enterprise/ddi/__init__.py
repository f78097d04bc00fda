"""Devices that ask for their updates over hawkBit's DDI: what a tenant sets, tokens."""
