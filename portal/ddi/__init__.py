"""hawkBit's DDI interface over HTTP: devices that ask for their updates (docs/firmware.md)."""
