"""Corrections of readings: the list of a device, a form with its preview, the withdrawal."""
