"""The REST API; tokens ask for every row that has scopes, too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from devices.models import Correction, DataExport, ExportState
from devices.tests import factories
from devices.tests.factories import Park
from portal.tests.permission_rows.notation import EVERY, STAFF, Area, Row, anybody, api
from tenants.scope import open_scope

if TYPE_CHECKING:
    from portal.tests.permission_rows.world import World


def _series(world: World) -> dict[str, object]:
    """A question about the channel of the first facility."""
    return {"channels": world.park.branches[0].channel.pk}


_CORRECT = "operator admin manager"
_CORRECTING = "devices:read readings:read readings:correct"
_DRAFT = {"kind": "remove", "start": "2026-02-01T00:00:00Z", "end": "2026-02-02T00:00:00Z"}


def _standing(of: Park) -> Correction:
    """The correction of the first device that has not been withdrawn."""
    device = of.branches[0].device
    with open_scope(of.scope):
        found = Correction.objects.filter(device=device, withdrawal=None).first()
    assert found is not None
    return found


_DERIVE = "operator admin manager technician"
_DERIVING = "devices:read readings:read devices:derive"


def _new() -> dict[str, object]:
    """A derived channel with a key that no other has."""
    key = f"twice_{factories.number()}"
    return {"key": key, "name": key, "quantity": "voltage", "text": "2 * voltage"}


_EXPORT = "operator admin manager analyst"
_EXPORTING = "devices:read readings:read readings:export"


def _asked(world: World) -> dict[str, object]:
    """A small export of the first channel."""
    return {
        "channels": [world.park.branches[0].channel.pk],
        "start": "2026-03-01T00:00:00Z",
        "end": "2026-03-01T01:00:00Z",
        "resolution": "raw",
        "format": "csv",
    }


def _export(world: World) -> DataExport:
    """The export of the first facility, finished."""
    at = world.park.branches[0].facility
    with open_scope(world.park.scope):
        found = DataExport.objects.filter(facility=at, parts__isnull=False)
        found.update(state=ExportState.FINISHED)
        return found[0]


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
        api("api:correction-list", STAFF, "devices:read readings:read",      404, "channel"),
        api("api:correction",      STAFF, "devices:read readings:read",      404, "correction"),
        Row("api:correction-list",     "POST", _CORRECT, 201, 404, 403, 403, 401, "channel",
            form=lambda world: {**_DRAFT, "reason": "Switched off."}, scopes=_CORRECTING),
        Row("api:correction-preview",  "POST", _CORRECT, 200, 404, 403, 403, 401, "channel",
            form=lambda world: _DRAFT, scopes=_CORRECTING),
        Row("api:correction-withdraw", "POST", _CORRECT, 201, 404, 403, 403, 401, "correction",
            form=lambda world: {"reason": "It was not."}, scopes=_CORRECTING),
        api("api:derived-list",    STAFF, "devices:read readings:read",      404, "device"),
        api("api:formula-list",    STAFF, "devices:read readings:read",      404, "derived"),
        Row("api:derived-list",    "POST", _DERIVE, 201, 404, 403, 403, 401, "device",
            form=lambda world: _new(), scopes=_DERIVING),
        Row("api:derived-preview", "POST", _DERIVE, 200, 404, 403, 403, 401, "device",
            form=lambda world: {"text": "2 * voltage"}, scopes=_DERIVING),
        Row("api:formula-list",    "POST", _DERIVE, 201, 404, 403, 403, 401, "derived",
            form=lambda world: {"text": "3 * voltage", "reason": "Why not."}, scopes=_DERIVING),
        api("api:export-list",     _EXPORT, _EXPORTING,                      200),
        api("api:export",          _EXPORT, _EXPORTING,                      404, "export"),
        api("api:export-part",     _EXPORT, _EXPORTING,                      404, "export part"),
        Row("api:export-list",     "POST",   _EXPORT, 201, 404, 403, 403, 401, form=_asked, scopes=_EXPORTING),
        Row("api:export",          "DELETE", _EXPORT, 204, 404, 403, 403, 401, "export", scopes=_EXPORTING),
    ),
    subjects={
        "export": lambda world: _export(world).pk,
        "export part": lambda world: (_export(world).pk, 0),
        "nothing": lambda world: "nothing/",
        "correction": lambda world: _standing(world.park).pk,
    },
)
# fmt: on
