"""hawkBit's DDI interface: people have no token of a device; its pages."""

from __future__ import annotations

from devices.models import DeviceType
from portal.tests.permission_rows.notation import Area, Row, anybody
from portal.tests.permission_rows.world import World
from tenants.scope import open_scope

_HANDS = "operator admin manager technician"
_ADMINS = "operator admin"
# Settings concern the tenant as a whole.
_PARTLY = {"elsewhere admin": 403}


def _root(world: World) -> tuple[str, str]:
    return world.park.tenant.slug, world.park.branches[0].device.serial


def _device(world: World) -> int:
    """The first device, whose type is updated over DDI."""
    device = world.park.branches[0].device
    with open_scope(world.park.scope):
        DeviceType.objects.filter(pk=device.device_type_id).update(capabilities=["ddi"])
    return device.pk


# fmt: off
AREA = Area(
    rows=(
        anybody("ddi:base",                  "GET",  401, "ddi-root"),
        anybody("ddi:config-data",           "PUT",  401, "ddi-root"),
        anybody("ddi:deployment",            "GET",  401, "ddi-action"),
        anybody("ddi:feedback",              "POST", 401, "ddi-action"),
        anybody("ddi:installed",             "GET",  401, "ddi-action"),
        anybody("ddi:cancel",                "GET",  401, "ddi-action"),
        anybody("ddi:cancel-feedback",       "POST", 401, "ddi-action"),
        anybody("ddi:confirmation-base",     "GET",  401, "ddi-root"),
        anybody("ddi:auto-confirm",          "POST", 401, "ddi-root"),
        anybody("ddi:auto-confirm-end",      "POST", 401, "ddi-root"),
        anybody("ddi:confirmation",          "GET",  401, "ddi-action"),
        anybody("ddi:confirmation-feedback", "POST", 401, "ddi-action"),
        anybody("ddi:artifacts",             "GET",  401, "ddi-action"),
        anybody("ddi:artifact",              "GET",  401, "ddi-file"),
        anybody("ddi:artifact",              "HEAD", 401, "ddi-file"),
        #    route                  method  roles    may  far  others newcomer nobody
        Row("ddi-settings",         "GET",  _ADMINS, 200, 200, 403,   403,     302, but=_PARTLY),
        Row("ddi-settings",         "POST", _ADMINS, 422, 422, 403,   403,     302, but=_PARTLY),
        Row("ddi-gateway",          "POST", _ADMINS, 200, 200, 403,   403,     302, but=_PARTLY),
        Row("ddi-gateway-withdraw", "POST", _ADMINS, 302, 302, 403,   403,     302, but=_PARTLY),
        Row("ddi-device",           "GET",  _HANDS,  200, 404, 403,   403,     302, "ddi-device"),
        Row("ddi-token",            "POST", _HANDS,  200, 404, 403,   403,     302, "ddi-device"),
        Row("ddi-token-withdraw",   "POST", _HANDS,  302, 404, 403,   403,     302, "ddi-device"),
    ),
    subjects={
        "ddi-root": _root,
        "ddi-action": lambda world: (*_root(world), 1),
        "ddi-file": lambda world: (*_root(world), 1, "meter-1.0.0.bin"),
        "ddi-device": _device,
    },
)
# fmt: on
