"""Groups of devices, and their settings."""

from __future__ import annotations

from devices.models import DeviceGroup
from portal.tests.permission_rows.notation import STAFF, Area, Row
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


# fmt: off
AREA = Area(
    rows=(
        #    route                method  roles   may  far  others newcomer nobody subject
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
    ),
    subjects={"group": _group},
)
# fmt: on
