"""Payloads of firmware over HTTP, for devices that fetch them so (docs/protocol.md, 17.2)."""
