"""Signing in and out, and what people do with their own account."""

from __future__ import annotations

from portal.tests.permission_rows.notation import Area, anybody, member

AREA = Area(
    rows=(
        member("login", "GET", 302, nobody=200),
        member("login", "POST", 302, nobody=200),
        member("login", "PUT", 302, nobody=200),
        member("login", "PATCH", 302, nobody=405),
        member("login", "DELETE", 302, nobody=405),
        anybody("logout", "POST", 302),
    )
)
