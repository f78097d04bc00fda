"""Commands: their pages, and over the REST API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from devices.models import Command
from devices.tests import factories
from portal.tests.permission_rows.notation import STAFF, Area, Row, api
from tenants.scope import open_scope

if TYPE_CHECKING:
    from portal.tests.permission_rows.world import World


def _asked(world: World) -> dict[str, object]:
    """A command to the first device."""
    return {"devices": [world.park.branches[0].device.pk], "kind": "identify"}


def _command(world: World, state: str) -> Command:
    """A new command to the first device, as the only one of a batch."""
    queued = {} if state != "awaiting_approval" else {"queued_at": None}
    with open_scope(world.park.scope):
        device = world.park.branches[0].device
        return factories.command(device, batch=True, state=state, **_LASTING, **queued)


_LASTING: dict[str, object] = {"expires_at": "2100-01-01T00:00:00Z", "reason": "It is theirs."}
_READ, _WRITE = "commands:read", "commands:write"
_CONTROL = "operator admin manager technician"
_APPROVE = "operator admin manager"
# A person has to approve it.
_PERSONS = {"service": 403, "service of the facility": 403}
_BECAUSE = {"reason": "They have paid."}
# fmt: off
AREA = Area(
    rows=(
        #    route            method  roles     may  far  others newcomer nobody subject
        Row("command-list",   "GET",  STAFF,    200, 200, 403,   403,     302),
        Row("batch-list",     "GET",  STAFF,    200, 200, 403,   403,     302),
        Row("command",        "GET",  STAFF,    200, 404, 403,   403,     302, "command"),
        Row("command-batch",  "GET",  STAFF,    200, 404, 403,   403,     302, "batch"),
        Row("device-control", "GET",  STAFF,    200, 404, 403,   403,     302, "device"),
        Row("device-control", "POST", _CONTROL, 422, 404, 403,   403,     302, "device"),
        # Without a choice it leads back to the list.
        Row("command-many",   "GET",  _CONTROL, 302, 302, 403,   403,     302),
        Row("command-many",   "POST", _CONTROL, 302, 302, 403,   403,     302),
        Row("command-cancel", "POST", _CONTROL, 302, 404, 403,   403,     302, "command"),
        Row("command-approve", "POST", _APPROVE, 302, 404, 403,  403,     302, "command that waits"),
        Row("command-refuse", "POST", _APPROVE, 302, 404, 403,   403,     302, "command that waits",
            form=lambda world: _BECAUSE),
        Row("batch-cancel",   "POST", _CONTROL, 302, 404, 403,   403,     302, "batch"),
        Row("batch-approve",  "POST", _APPROVE, 302, 404, 403,   403,     302, "batch that waits"),
        Row("batch-refuse",   "POST", _APPROVE, 302, 404, 403,   403,     302, "batch that waits",
            form=lambda world: _BECAUSE),
        Row("batch-retry",    "POST", _CONTROL, 302, 404, 403,   403,     302, "batch that failed"),
        api("api:command-list", STAFF, _READ, 200),
        api("api:command",      STAFF, _READ, 404, "command"),
        api("api:batch-list",   STAFF, _READ, 200),
        api("api:batch",        STAFF, _READ, 404, "batch"),
        Row("api:command-list",    "POST", _CONTROL, 201, 404, 403, 403, 401, form=_asked, scopes=_WRITE),
        Row("api:command-cancel",  "POST", _CONTROL, 200, 404, 403, 403, 401, "command", scopes=_WRITE),
        Row("api:command-approve", "POST", _APPROVE, 200, 404, 403, 403, 401, "command that waits", scopes=_WRITE,
            but=_PERSONS),
        Row("api:command-refuse",  "POST", _APPROVE, 200, 404, 403, 403, 401, "command that waits",
            form=lambda world: _BECAUSE, scopes=_WRITE, but=_PERSONS),
        Row("api:batch-cancel",    "POST", _CONTROL, 200, 404, 403, 403, 401, "batch", scopes=_WRITE),
        Row("api:batch-approve",   "POST", _APPROVE, 200, 404, 403, 403, 401, "batch that waits", scopes=_WRITE,
            but=_PERSONS),
        Row("api:batch-refuse",    "POST", _APPROVE, 200, 404, 403, 403, 401, "batch that waits",
            form=lambda world: _BECAUSE, scopes=_WRITE, but=_PERSONS),
        Row("api:batch-retry",     "POST", _CONTROL, 201, 404, 403, 403, 401, "batch that failed", scopes=_WRITE),
    ),
    subjects={
        "command": lambda world: _command(world, "queued").pk,
        "command that waits": lambda world: _command(world, "awaiting_approval").pk,
        "batch": lambda world: _command(world, "queued").batch_id,
        "batch that waits": lambda world: _command(world, "awaiting_approval").batch_id,
        "batch that failed": lambda world: _command(world, "failed").batch_id,
    },
)
# fmt: on
