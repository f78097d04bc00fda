"""What waits for an approval, and the rules that demand it: pages, and over the REST API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from portal.tests.permission_rows.notation import STAFF, Area, Row, api

if TYPE_CHECKING:
    from portal.tests.permission_rows.world import World

_ADMINS = "operator admin"
_APPROVE = "operator admin manager"
_FIRMWARE = "operator admin manager technician support"


def _two(_world: World) -> dict[str, object]:
    return {"two_persons": True}


def _limit(_world: World) -> dict[str, object]:
    return {"max_downloads": 100}


# fmt: off
AREA = Area(
    rows=(
        #    route              method  roles     may  far  others newcomer nobody subject
        Row("approvals",        "GET",  _APPROVE, 200, 200, 403,   403,     302),
        # The rules are those of a tenant as a whole.
        Row("control-rules",    "GET",  _ADMINS,  200, 200, 403,   403,     302, elsewhere=403),
        Row("control-rules",    "POST", _ADMINS,  302, 302, 403,   403,     302, elsewhere=403),
        Row("control-rule-off",  "POST", _ADMINS, 302, 302, 403,   403,     302, "rule", elsewhere=403),
        Row("control-rule-keep", "POST", _ADMINS, 302, 302, 403,   403,     302, "rule", elsewhere=403),
        api("api:policy-commands", STAFF,     "commands:read", 200),
        api("api:policy-firmware", _FIRMWARE, "firmware:read", 200),
        api("api:approval-list",   STAFF,     "commands:read", 200),
        Row("api:policy-commands", "PATCH", _ADMINS, 200, 200, 403, 403, 401, elsewhere=403, form=_two,
            scopes="commands:read policies:write"),
        Row("api:policy-firmware", "PATCH", _ADMINS, 200, 200, 403, 403, 401, elsewhere=403, form=_limit,
            scopes="firmware:read policies:write"),
    ),
    subjects={"rule": lambda world: "commands"},
)
# fmt: on
