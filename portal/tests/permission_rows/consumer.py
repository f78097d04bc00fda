"""The consumer's door."""

from __future__ import annotations

from portal.tests.permission_rows.notation import Area

AREA = Area()
