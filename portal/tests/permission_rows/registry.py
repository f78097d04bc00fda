"""Lists of facilities and devices, their forms, import and claim codes."""

from __future__ import annotations

from devices.models import Channel
from portal.tests.permission_rows.notation import EVERY, STAFF, Area, Row
from portal.tests.permission_rows.world import World
from tenants.scope import open_scope

_KEEPERS = "operator admin manager"  # facilities
_HANDS = "operator admin manager technician"  # devices
_CLAIMERS = f"{_HANDS} consumer"
# Imports concern the tenant as a whole: whoever is granted a few facilities cannot.
_PARTLY = {"elsewhere admin": 403, "elsewhere manager": 403}


def _derived(world: World) -> object:
    with open_scope(world.park.scope):
        return Channel.objects.get(device=world.park.branches[0].device, derived=True).pk


# fmt: off
AREA = Area(
    rows=(
        #    route              method roles      may  far  others newcomer nobody  subject
        Row("facility-list",    "GET",  EVERY,     200, 200, 403,   403,     302),
        Row("facility-create",  "GET",  _KEEPERS,  200, 200, 403,   403,     302),
        Row("facility-create",  "POST", _KEEPERS,  422, 422, 403,   403,     302),
        Row("facility-edit",    "GET",  _KEEPERS,  200, 404, 403,   403,     302, "facility"),
        Row("facility-edit",    "POST", _KEEPERS,  422, 404, 403,   403,     302, "facility"),
        Row("facility-meters",  "GET",  STAFF,     200, 404, 403,   403,     302, "facility"),
        Row("meters-arrange",   "GET",  _HANDS,    200, 404, 403,   403,     302, "facility"),
        Row("meters-arrange",   "POST", _HANDS,    422, 404, 403,   403,     302, "facility"),
        Row("load-list",        "GET",  STAFF,     200, 404, 403,   403,     302, "facility"),
        Row("load-create",      "GET",  _HANDS,    200, 404, 403,   403,     302, "facility"),
        Row("load-create",      "POST", _HANDS,    422, 404, 403,   403,     302, "facility"),
        Row("load-edit",        "GET",  _HANDS,    200, 404, 403,   403,     302, "load"),
        Row("load-edit",        "POST", _HANDS,    422, 404, 403,   403,     302, "load"),
        Row("load-remove",      "POST", _HANDS,    302, 404, 403,   403,     302, "load"),
        Row("allocation-create", "GET", _HANDS,    200, 404, 403,   403,     302, "load"),
        Row("allocation-create", "POST", _HANDS,   422, 404, 403,   403,     302, "load"),
        Row("allocation-end",   "GET",  _HANDS,    200, 404, 403,   403,     302, "allocation"),
        Row("allocation-end",   "POST", _HANDS,    422, 404, 403,   403,     302, "allocation"),
        Row("allocation-remove", "POST", _HANDS,   302, 404, 403,   403,     302, "allocation"),
        Row("device-list",      "GET",  STAFF,     200, 200, 403,   403,     302),
        Row("device-create",    "GET",  _HANDS,    200, 200, 403,   403,     302),
        Row("device-create",    "POST", _HANDS,    422, 422, 403,   403,     302),
        Row("device-edit",      "GET",  _HANDS,    200, 404, 403,   403,     302, "device"),
        Row("device-edit",      "POST", _HANDS,    422, 404, 403,   403,     302, "device"),
        Row("device-anew",      "GET",  _HANDS,    200, 404, 403,   403,     302, "device"),
        Row("device-anew",      "POST", _HANDS,    422, 404, 403,   403,     302, "device"),
        Row("derived-list",     "GET",  STAFF,     200, 404, 403,   403,     302, "device"),
        Row("derived-create",   "GET",  _HANDS,    200, 404, 403,   403,     302, "device"),
        Row("derived-create",   "POST", _HANDS,    422, 404, 403,   403,     302, "device"),
        Row("derived-check",    "POST", _HANDS,    200, 404, 403,   403,     302, "device"),
        # Without a choice it leads back to the list, whatever the device.
        Row("derived-add",      "POST", _HANDS,    302, 302, 403,   403,     302, "device"),
        Row("formula-change",   "GET",  _HANDS,    200, 404, 403,   403,     302, "derived"),
        Row("formula-change",   "POST", _HANDS,    422, 404, 403,   403,     302, "derived"),
        # Without a choice it leads back to the list.
        Row("device-states",    "POST", _HANDS,    302, 302, 403,   403,     302),
        Row("device-type-list", "GET",  STAFF,     200, 200, 403,   403,     302),
        Row("device-type",      "GET",  STAFF,     200, 404, 403,   403,     302, "device-type",
            # A type is the whole tenant's, whatever facilities somebody is granted.
            but={"elsewhere admin": 200, "elsewhere manager": 200, "elsewhere support": 200}),
        Row("import-list",      "GET",  _KEEPERS,  200, 200, 403,   403,     302, but=_PARTLY),
        Row("import-create",    "GET",  _KEEPERS,  200, 200, 403,   403,     302, but=_PARTLY),
        Row("import-create",    "POST", _KEEPERS,  422, 422, 403,   403,     302, but=_PARTLY),
        Row("import-template",  "GET",  _KEEPERS,  200, 200, 403,   403,     302, but=_PARTLY),
        Row("import",           "GET",  _KEEPERS,  200, 404, 403,   403,     302, "import", _PARTLY),
        Row("import",           "POST", _KEEPERS,  422, 404, 403,   403,     302, "import", _PARTLY),
        Row("import-progress",  "GET",  _KEEPERS,  200, 404, 403,   403,     302, "import", _PARTLY),
        Row("import-run",       "POST", _KEEPERS,  302, 404, 403,   403,     302, "import", _PARTLY),
        Row("import-result",    "POST", _KEEPERS,  200, 404, 403,   403,     302, "import", _PARTLY),
        Row("import-remove",    "POST", _KEEPERS,  302, 404, 403,   403,     302, "import", _PARTLY),
        Row("claim",            "GET",  _CLAIMERS, 200, 200, 403,   403,     302),
        Row("claim",            "POST", _CLAIMERS, 422, 422, 403,   403,     302),
        # A code that opens nothing; others are in test_registry_claims.py.
        Row("claim-code",       "GET",  _CLAIMERS, 404, 404, 403,   403,     302, "claim-code"),
        Row("claim-code",       "POST", _CLAIMERS, 404, 404, 403,   403,     302, "claim-code"),
        Row("code-list",        "GET",  _HANDS,    200, 200, 403,   403,     302),
        Row("code-issue",       "POST", _HANDS,    302, 302, 403,   403,     302),
        Row("code-withdraw",    "POST", _HANDS,    404, 404, 403,   403,     302),
        Row("code-labels",      "GET",  _HANDS,    200, 200, 403,   403,     302),
    ),
    subjects={
        "derived": _derived,
        "load": lambda world: world.park.branches[0].load.pk,
        "allocation": lambda world: world.park.branches[0].allocation.pk,
        "device-type": lambda world: world.park.branches[0].device.device_type_id,
        "import": lambda world: world.park.imported.pk,
        "claim-code": lambda world: "0123-4567-89AB-CDEF",
    },
    secrets=lambda world: [world.park.imported.file_name],
)
# fmt: on
