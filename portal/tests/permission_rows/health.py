"""Health, and schemas that are published."""

from __future__ import annotations

from portal.tests.permission_rows.notation import Area, anybody

AREA = Area(
    rows=(
        anybody("health-live", "GET", 200),
        anybody("health-ready", "GET", 503),  # no process runs in the test
        anybody("schema-tariff", "GET", 200),
    )
)
