"""The REST API; tokens ask for every row that has scopes, too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from portal.tests.permission_rows.notation import EVERY, STAFF, Area, anybody, api

if TYPE_CHECKING:
    from portal.tests.permission_rows.world import World


def _series(world: World) -> dict[str, object]:
    """A question about the channel of the first facility."""
    return {"channels": world.park.branches[0].channel.pk}


METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
# fmt: off
AREA = Area(
    rows=(
        anybody("api:reference", "GET", 200),
        anybody("api:reference-callback", "GET", 200),
        anybody("api:schema", "GET", 200),
        *(anybody("api:unknown", method, 404, "nothing") for method in METHODS),
        #   route                  roles  scopes of a token                  far  subject
        api("api:me",              EVERY, "",                                200),
        api("api:facility-list",   EVERY, "facilities:read",                 200),
        api("api:facility",        EVERY, "facilities:read",                 404, "facility"),
        api("api:facility-latest", EVERY, "facilities:read readings:read",   404, "facility"),
        api("api:facility-series", EVERY, "facilities:read readings:read",   404, "facility", _series),
        api("api:device-list",     STAFF, "devices:read",                    200),
        api("api:device",          STAFF, "devices:read",                    404, "device"),
        api("api:device-latest",   STAFF, "devices:read readings:read",      404, "device"),
        api("api:channel-list",    STAFF, "devices:read",                    200),
        api("api:channel",         STAFF, "devices:read",                    404, "channel"),
        api("api:channel-series",  STAFF, "devices:read readings:read",      404, "channel"),
    ),
    subjects={"nothing": lambda world: "nothing/"},
)
# fmt: on
