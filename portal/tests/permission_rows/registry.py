"""Lists of facilities and devices, their forms, import and claim codes."""

from __future__ import annotations

from portal.tests.permission_rows.notation import Area

AREA = Area()
