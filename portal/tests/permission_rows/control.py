"""Groups of devices, and their settings."""

from __future__ import annotations

from devices.models import DeviceGroup
from devices.tests import factories
from portal.tests.permission_rows.notation import STAFF, Area, Row, api
from portal.tests.permission_rows.world import World
from tenants.scope import open_scope

_HANDS = "operator admin manager technician"


def _group(world: World) -> object:
    """The group that the first device is in; another one asks for it, so that it stays."""
    with open_scope(world.park.scope):
        device = world.park.branches[0].device
        group = DeviceGroup.objects.get(members__device=device)
        rule = {"conditions": [{"field": "group", "values": [group.pk]}]}
        DeviceGroup.objects.get_or_create(
            tenant=world.park.tenant, name="Asks for it", defaults={"rule": rule}
        )
        return group.pk


_SEEING = "devices:read"
_GROUPING = "devices:read commands:write"
_FEW = {"service of the facility": 404}
# Groups concern the tenant as a whole: whoever is granted a few facilities makes none.
_PARTLY = {
    "elsewhere admin": 400,
    "elsewhere manager": 400,
    "service of the facility": 400,
    "service of another facility": 400,
}


def _new(world: World) -> dict[str, object]:
    """A group with a name that no other has."""
    return {"name": f"Group {factories.number()}"}


def _tried(world: World) -> dict[str, object]:
    """A rule that everybody may try."""
    return {"rule": {"conditions": [{"field": "connected", "values": [True]}]}}


def _ruled(world: World) -> dict[str, object]:
    """A rule for a group of members, which is refused to whoever sees the group."""
    return {"name": "Ruled", **_tried(world)}


def _moved(world: World) -> dict[str, object]:
    """A device that is in the group already."""
    return {"add": [world.park.branches[0].device.pk]}


def _kept(world: World) -> dict[str, object]:
    """The limit that is wanted already."""
    return {"power": "limited", "power_limit_w": 9_000}


def _set(world: World) -> dict[str, object]:
    """A setting."""
    return {"settings": {"power_limit_w": 9_000}}


# fmt: off
AREA = Area(
    rows=(
        #    route                method  roles   may  far  others newcomer nobody subject
        Row("device-settings",    "GET",  STAFF,  200, 404, 403,   403,     302, "device"),
        Row("device-settings",    "POST", _HANDS, 302, 404, 403,   403,     302, "device", form=_kept),
        Row("settings-again",     "POST", _HANDS, 302, 404, 403,   403,     302, "device"),
        # Without a choice it leads back to the list.
        Row("settings-many",      "GET",  _HANDS, 302, 302, 403,   403,     302),
        Row("settings-many",      "POST", _HANDS, 302, 302, 403,   403,     302),
        Row("group-list",         "GET",  STAFF,  200, 200, 403,   403,     302),
        Row("group-create",       "GET",  _HANDS, 200, 200, 403,   403,     302),
        Row("group-create",       "POST", _HANDS, 200, 200, 403,   403,     302),
        Row("group-create-rule",  "GET",  _HANDS, 200, 200, 403,   403,     302),
        Row("group-create-rule",  "POST", _HANDS, 422, 422, 403,   403,     302),
        Row("group-preview",      "POST", _HANDS, 200, 200, 403,   403,     302),
        # Without a choice it leads back to the list.
        Row("group-choose",       "POST", _HANDS, 302, 302, 403,   403,     302),
        Row("group",              "GET",  STAFF,  200, 404, 403,   403,     302, "group"),
        Row("group-edit",         "GET",  _HANDS, 200, 404, 403,   403,     302, "group"),
        Row("group-edit",         "POST", _HANDS, 422, 404, 403,   403,     302, "group"),
        Row("group-delete",       "GET",  _HANDS, 200, 404, 403,   403,     302, "group"),
        Row("group-delete",       "POST", _HANDS, 302, 404, 403,   403,     302, "group"),
        Row("group-members",      "POST", _HANDS, 302, 404, 403,   403,     302, "group",
            form=lambda world: {"device": world.park.branches[1].device.pk}),
        api("api:group-list",           STAFF, "devices:read", 200),
        Row("api:group",          "GET",  STAFF,  200, 404, 403, 403, 401, "group", scopes=_SEEING, but=_FEW),
        Row("api:group-devices",  "GET",  STAFF,  200, 404, 403, 403, 401, "group", scopes=_SEEING, but=_FEW),
        api("api:device-configuration", STAFF, "devices:read", 404, "device"),
        Row("api:group-list",     "POST", _HANDS, 201, 201, 403, 403, 401, form=_new, scopes=_GROUPING,
            but=_PARTLY),
        Row("api:group-preview",  "POST", _HANDS, 200, 200, 403, 403, 401, form=_tried, scopes=_GROUPING),
        Row("api:group",          "PUT",    _HANDS, 400, 404, 403, 403, 401, "group", form=_ruled, scopes=_GROUPING,
            but=_FEW),
        Row("api:group",          "DELETE", _HANDS, 400, 404, 403, 403, 401, "group", scopes=_GROUPING,
            but=_FEW),
        Row("api:group-devices",  "POST", _HANDS, 200, 404, 403, 403, 401, "group", form=_moved, scopes=_GROUPING,
            but=_FEW),
        Row("api:device-configuration", "PATCH", _HANDS, 200, 404, 403, 403, 401, "device", form=_set,
            scopes=_GROUPING),
    ),
    subjects={"group": _group},
)
# fmt: on
