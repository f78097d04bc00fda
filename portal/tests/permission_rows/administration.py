"""Applications, audit, the tenant tree, impersonation."""

from __future__ import annotations

from portal.tests.permission_rows.notation import Area, Row

# Who administers nothing but some facilities sees no trail: it concerns the tenant as a whole.
# fmt: off
AREA = Area(
    rows=(
        #   route           method  roles             may  far  others newcomer nobody  subject
        Row("audit",        "GET", "operator admin", 200, 200, 403,   403,     302),
        Row("audit-csv",    "GET", "operator admin", 200, 200, 403,   403,     302),
        Row("audit-json",   "GET", "operator admin", 200, 200, 403,   403,     302),
    ),
)
# fmt: on
