"""Overview, facility and device."""

from __future__ import annotations

from typing import TYPE_CHECKING

from portal.tests.permission_rows.notation import EVERY, STAFF, Area, Row

if TYPE_CHECKING:
    from portal.tests.permission_rows.world import World

_HANDS = "operator admin manager technician"


def _history(world: World) -> dict[str, object]:
    """A question about the past of the device of the first facility."""
    channels = f"{world.park.branches[0].device.pk}.0"
    return {"channels": channels, "from": "1772366400000", "to": "1772370000000"}


# fmt: off
AREA = Area(
    rows=(
        #    route       method roles  may  far  others newcomer nobody  subject
        Row("overview",  "GET", f"{STAFF} custom", 200, 200, 302,   200,     302),  # consumers: to their home
        Row("facility",  "GET", EVERY, 200, 404, 403,   403,     302, "facility"),
        Row("device",    "GET", STAFF, 200, 404, 403,   403,     302, "device"),
        Row("facility-history", "GET", EVERY, 200, 404, 403, 403, 302, "facility", form=_history),
        Row("device-history",   "GET", STAFF, 200, 404, 403, 403, 302, "device", form=_history),
        Row("device-state",  "POST", _HANDS, 302, 404, 403, 403, 302, "device", form=lambda _: {"state": "suspended"}),
        Row("device-secret", "POST", _HANDS, 200, 404, 403, 403, 302, "device"),
    ),
    subjects={
        "facility": lambda world: world.park.branches[0].facility.pk,
        "device": lambda world: world.park.branches[0].device.pk,
        "channel": lambda world: world.park.branches[0].channel.pk,
    },
    sockets={
        # what is watched          roles  may            far   others newcomer nobody
        ("ws/live/", "facility"): (EVERY, "description", 4403, 4403,  4403,    4401),
        ("ws/live/", "device"):   (STAFF, "description", 4403, 4403,  4403,    4401),
    },
)
# fmt: on
