"""Roll-outs: pages and the firmware of a device."""

from __future__ import annotations

from typing import TYPE_CHECKING

from firmware.models import Rollout, RolloutState, RolloutTarget
from firmware.rollout.strategy import Strategy
from firmware.tests import factories
from portal.tests.permission_rows.notation import Area, Row
from tenants.scope import open_scope

if TYPE_CHECKING:
    from portal.tests.permission_rows.world import World

_SEES = "operator admin manager technician support"
_CHANGES = "operator admin manager"
_READ = "firmware:read"
_WRITE = "firmware:read rollouts:write"


def _rollout(world: World) -> int:
    """One with a device, that is running; gone with the test."""
    with open_scope(world.park.scope):
        made = Rollout.objects.filter(tenant=world.park.tenant, state=RolloutState.RUNNING).first()
    if made is not None:
        return made.pk
    factories.firmware_of(world.park)
    return _rollout(world)


def _target(world: World) -> tuple[int, int]:
    rollout = _rollout(world)
    with open_scope(world.park.scope):
        device = world.park.branches[0].device
        return rollout, RolloutTarget.objects.get(rollout_id=rollout, device=device).pk


def _draft(world: World) -> int:
    """One that has not been started."""
    running = _rollout(world)
    with open_scope(world.park.scope):
        row = Rollout.objects.get(pk=running)
        strategy, selection = Strategy().to_json(), {"everything": True}
        return Rollout.objects.create(
            tenant=world.park.tenant,
            name="Draft",
            release=row.release,
            strategy=strategy,
            selection=selection,
        ).pk


def _body(world: World) -> dict[str, object]:
    """A draft that could be kept, but for its release."""
    return {"name": "Spring", "release": 2**60, "selection": {"everything": True}}


def _empty(_world: World) -> dict[str, object]:
    return {}


def _noted(_world: World) -> dict[str, object]:
    return {"note": "Known"}


# fmt: off
AREA = Area(
    rows=(
        #    route                method  roles     may  far  others newcomer nobody  subject
        Row("rollout-list",       "GET",  _SEES,    200, 200, 403,   403,     302),
        Row("rollout",            "GET",  _SEES,    200, 404, 403,   403,     302, "rollout", elsewhere=404),
        Row("rollout-devices",    "GET",  _SEES,    200, 404, 403,   403,     302, "rollout", elsewhere=404),
        Row("rollout-target",     "GET",  _SEES,    200, 404, 403,   403,     302, "target"),
        Row("device-firmware",    "GET",  _SEES,    200, 404, 403,   403,     302, "device"),
        Row("rollout-create",     "GET",  _CHANGES, 200, 200, 403,   403,     302, elsewhere=403),
        Row("rollout-create",     "POST", _CHANGES, 422, 422, 403,   403,     302, elsewhere=403),
        Row("rollout-preset",     "GET",  _CHANGES, 200, 200, 403,   403,     302, elsewhere=403),
        Row("rollout-preview",    "POST", _CHANGES, 200, 200, 403,   403,     302, elsewhere=403),
        # It is running: to whoever may, that is told.
        Row("rollout-edit",       "GET",  _CHANGES, 302, 404, 403,   403,     302, "rollout", elsewhere=403),
        Row("rollout-edit",       "POST", _CHANGES, 302, 404, 403,   403,     302, "rollout", elsewhere=403),
        Row("rollout-step",       "GET",  _CHANGES, 200, 404, 403,   403,     302, "step", elsewhere=403),
        Row("rollout-step",       "POST", _CHANGES, 302, 404, 403,   403,     302, "step", elsewhere=403),
        Row("rollout-approval",   "GET",  _CHANGES, 200, 404, 403,   403,     302, "approval", elsewhere=403),
        Row("rollout-approval",   "POST", _CHANGES, 302, 404, 403,   403,     302, "approval", elsewhere=403),

        Row("api:rollout-list",      "GET",    _SEES,    200, 200, 403, 403, 401, scopes=_READ),
        Row("api:rollout-list",      "POST",   _CHANGES, 400, 400, 403, 403, 401, elsewhere=403, form=_body,
            scopes=_WRITE),
        Row("api:rollout-preview",   "POST",   _CHANGES, 400, 400, 403, 403, 401, elsewhere=403, form=_body,
            scopes=_WRITE),
        Row("api:rollout",           "GET",    _SEES,    200, 404, 403, 403, 401, "rollout", elsewhere=404,
            scopes=_READ),
        Row("api:rollout-plan",      "GET",    _SEES,    200, 404, 403, 403, 401, "draft", elsewhere=404,
            scopes=_READ),
        Row("api:rollout-targets",   "GET",    _SEES,    200, 404, 403, 403, 401, "rollout", elsewhere=404,
            scopes=_READ),
        Row("api:device-updates",    "GET",    _SEES,    200, 404, 403, 403, 401, "device", scopes=_READ),
        # It is running, or a draft: to whoever may, that is told.
        Row("api:rollout",           "PUT",    _CHANGES, 400, 404, 403, 403, 401, "rollout", elsewhere=403, form=_body,
            scopes=_WRITE),
        Row("api:rollout",           "DELETE", _CHANGES, 400, 404, 403, 403, 401, "rollout", elsewhere=403,
            scopes=_WRITE),
        Row("api:rollout-start",     "POST", _CHANGES, 400, 404, 403, 403, 401, "rollout", elsewhere=403,
            form=_empty, scopes=_WRITE),
        Row("api:rollout-approve",   "POST", _CHANGES, 400, 404, 403, 403, 401, "rollout", elsewhere=403,
            form=_empty, scopes=_WRITE),
        Row("api:rollout-resume",    "POST", _CHANGES, 400, 404, 403, 403, 401, "rollout", elsewhere=403,
            form=_empty, scopes=_WRITE),
        Row("api:rollout-pause",     "POST", _CHANGES, 400, 404, 403, 403, 401, "draft", elsewhere=403,
            form=_empty, scopes=_WRITE),
        Row("api:rollout-abort",     "POST", _CHANGES, 400, 404, 403, 403, 401, "draft", elsewhere=403,
            form=_empty, scopes=_WRITE),
        Row("api:rollout-retry",     "POST", _CHANGES, 400, 404, 403, 403, 401, "draft", elsewhere=403,
            form=_empty, scopes=_WRITE),
        Row("api:rollout-roll-back", "POST", _CHANGES, 400, 404, 403, 403, 401, "draft", elsewhere=403,
            form=_empty, scopes=_WRITE),
        Row("api:rollout-advance",   "POST", _CHANGES, 400, 404, 403, 403, 401, "draft", elsewhere=403,
            form=_noted, scopes=_WRITE),
    ),
    subjects={
        "rollout": _rollout,
        "draft": _draft,
        "target": _target,
        "step": lambda world: (_rollout(world), "start"),
        "approval": lambda world: (_rollout(world), "approve"),
    },
)
# fmt: on
