"""History as files: imports of meter data, exports of readings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from devices.models import DataExport, ExportState, HistoryImport
from portal.tests.permission_rows.notation import Area, Row
from tenants.scope import open_scope

if TYPE_CHECKING:
    from portal.tests.permission_rows.world import World

_KEEPERS = "operator admin manager"
_READERS = "operator admin manager analyst"
# Imports concern the tenant as a whole: whoever is granted a few facilities cannot.
_PARTLY = {"elsewhere admin": 403, "elsewhere manager": 403}


def _run(world: World) -> HistoryImport:
    with open_scope(world.park.scope):
        return HistoryImport.objects.latest("pk")


def _export(world: World) -> DataExport:
    """The export of the first facility, finished."""
    with open_scope(world.park.scope):
        found = DataExport.objects.filter(
            facility=world.park.branches[0].facility, parts__isnull=False
        )
        found.update(state=ExportState.FINISHED)
        return found[0]


# fmt: off
AREA = Area(
    rows=(
        #    route                     method  roles     may  far  others newcomer nobody  subject
        Row("history-import-list",     "GET",  _KEEPERS, 200, 200, 403,   403,     302, but=_PARTLY),
        Row("history-import-create",   "GET",  _KEEPERS, 200, 200, 403,   403,     302, but=_PARTLY),
        Row("history-import-create",   "POST", _KEEPERS, 422, 422, 403,   403,     302, but=_PARTLY),
        Row("history-import",          "GET",  _KEEPERS, 200, 404, 403,   403,     302, "history", _PARTLY),
        Row("history-import",          "POST", _KEEPERS, 422, 404, 403,   403,     302, "history", _PARTLY),
        Row("history-import-progress", "GET",  _KEEPERS, 200, 404, 403,   403,     302, "history", _PARTLY),
        Row("history-import-run",      "POST", _KEEPERS, 302, 404, 403,   403,     302, "history", _PARTLY),
        Row("history-import-remove",   "POST", _KEEPERS, 302, 404, 403,   403,     302, "history", _PARTLY),
        Row("export-list",             "GET",  _READERS, 200, 200, 403,   403,     302),
        Row("export-create",           "GET",  _READERS, 200, 200, 403,   403,     302),
        Row("export-create",           "POST", _READERS, 422, 422, 403,   403,     302),
        Row("export",                  "GET",  _READERS, 200, 404, 403,   403,     302, "export page"),
        Row("export-progress",         "GET",  _READERS, 200, 404, 403,   403,     302, "export page"),
        Row("export-file",             "GET",  _READERS, 200, 404, 403,   403,     302, "export page"),
        Row("export-cancel",           "POST", _READERS, 302, 404, 403,   403,     302, "export page"),
    ),
    subjects={
        "history": lambda world: _run(world).pk,
        "export page": lambda world: _export(world).pk,
    },
    secrets=lambda world: [_run(world).file_name],
)
# fmt: on
