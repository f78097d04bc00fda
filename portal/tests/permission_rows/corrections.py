"""Corrections of readings."""

from __future__ import annotations

from portal.tests.permission_rows.notation import STAFF, Area, Row

_CORRECT = "operator admin manager"
# fmt: off
AREA = Area(
    rows=(
        #    route                 method  roles      may  far  others newcomer nobody
        Row("correction-list",     "GET",  STAFF,     200, 404, 403,   403,     302, "device"),
        Row("correction-create",   "GET",  _CORRECT,  200, 404, 403,   403,     302, "device"),
        Row("correction-create",   "POST", _CORRECT,  422, 404, 403,   403,     302, "device"),
        Row("correction-withdraw", "GET",  _CORRECT,  200, 404, 403,   403,     302, "correction"),
        Row("correction-withdraw", "POST", _CORRECT,  302, 404, 403,   403,     302, "correction",
            form=lambda world: {"reason": "It was not."}),
    ),
)
# fmt: on
