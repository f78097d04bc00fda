"""The frame: search, the tenant switcher, the design page."""

from __future__ import annotations

from portal.tests.permission_rows.notation import Area, member

AREA = Area(rows=(member("design", "GET", 200),))
