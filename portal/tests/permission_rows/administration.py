"""Applications, audit, the tenant tree, impersonation."""

from __future__ import annotations

from portal.tests.permission_rows.notation import Area, Row

# What concerns a tenant as a whole is not for members who are narrowed to facilities, whatever their
# role.
_NARROWED = {"elsewhere admin": 403}

# fmt: off
AREA = Area(
    rows=(
        #   route           method  roles             may  far  others newcomer nobody
        Row("audit",        "GET", "operator admin", 200, 200, 403,   403,     302, but=_NARROWED),
        Row("audit-csv",    "GET", "operator admin", 200, 200, 403,   403,     302, but=_NARROWED),
        Row("audit-json",   "GET", "operator admin", 200, 200, 403,   403,     302, but=_NARROWED),
    ),
)
# fmt: on
