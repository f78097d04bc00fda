"""The frame: search, the tenant switcher, the design page."""

from __future__ import annotations

from portal.tests.permission_rows.notation import Area, anybody, member

AREA = Area(
    rows=(
        member("design", "GET", 200),
        member("search", "GET", 200),
        member("search-suggest", "GET", 200),
        member("switch-tenant", "GET", 200),
        member("switch-tenant", "POST", 404),  # names no tenant
        anybody("language", "POST", 400),  # names no language
    )
)
