"""Payloads by link: nobody signs in, and without a good signature nobody gets anything."""

from __future__ import annotations

from portal.tests.permission_rows.notation import Area, anybody

AREA = Area(
    rows=(anybody("firmware-payload", "GET", 403, "payload"),),
    subjects={"payload": lambda world: "0" * 64},
)
