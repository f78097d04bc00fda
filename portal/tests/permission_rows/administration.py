"""Applications, audit, the tenant tree, impersonation."""

from __future__ import annotations

from portal.tests.permission_rows.notation import Area

AREA = Area()
