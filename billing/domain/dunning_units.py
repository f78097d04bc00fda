"""Cutting the supply of an agreement's units, and giving it back. Needs an open scope.

Through the command ledger, as everybody: with a reason, in its history, and where the tenant wants
two persons for switching off, only when one has agreed. What somebody else has switched since is
left as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.db.models import Q
from django.utils.translation import gettext as _

from billing.models import Agreement, AgreementMeter, DunningCase, DunningEvent, DunningKind, Flow
from devices.commands.kinds import NO_POWER_LIMIT, Kind
from devices.commands.states import Cause, Origin, State
from devices.domain import commands_operations
from devices.domain.commands_policy import SYSTEM
from devices.models import Command, DeviceConfiguration

_OUTPUT: Final = "output"
_LIMIT: Final = "power_limit_w"
# Who repeats what others have asked for.
_REPEATS: Final = (Origin.RECONCILIATION, Origin.ROLLOUT)


@dataclass(slots=True)
class Done:
    """What was asked of units: ids of commands, units that could not be asked or are left as they
    are, and the power limits (W) that were wanted before, by unit.
    """

    commands: list[int] = field(default_factory=list)
    missed: list[int] = field(default_factory=list)
    limits: dict[str, int] = field(default_factory=dict)


def units_of(agreement: Agreement, *, now: datetime) -> list[int]:
    """The devices that supply this agreement alone now: they measure what it draws, whole, and
    nothing that another agreement is billed by. Of one that is over there are none: somebody else
    may live there.
    """
    over = Q(ends_at__isnull=False, ends_at__lte=now)
    meters = AgreementMeter.objects.filter(starts_at__lte=now).exclude(over)
    today = now.date()
    if agreement.ends_on is not None and agreement.ends_on <= today:
        return []
    own = meters.filter(agreement=agreement, flow=Flow.IMPORT, share=1)
    ids = set(own.values_list("channel__device", flat=True))
    shared = meters.filter(channel__device__in=ids).exclude(agreement=agreement)
    return sorted(ids.difference(shared.values_list("channel__device", flat=True)))


def disable(case: DunningCase, *, step: int, now: datetime) -> Done:
    """Switch the units off. One that somebody wants off already is left as it is."""
    done = Done()
    ids = units_of(case.agreement, now=now)
    off = off_by_others(ids)
    for device_id in ids:
        if device_id in off:
            done.missed.append(device_id)
            continue
        reason = _("Not paid: agreement %(number)s, dunning step %(step)s") % {
            "number": case.agreement.number,
            "step": step,
        }
        _ask(
            done, device_id, Kind.SET_OUTPUT, {_OUTPUT: 0}, reason, _key(case, step, device_id), now
        )
    return done


def limit(case: DunningCase, *, step: int, watts: int, now: datetime) -> Done:
    """Limit the power of the units. One that is limited as far already is left as it is."""
    done = Done()
    ids = units_of(case.agreement, now=now)
    wanted = _wanted(ids, _LIMIT)
    for device_id in ids:
        before = wanted.get(device_id, NO_POWER_LIMIT)
        if NO_POWER_LIMIT < before <= watts:
            done.missed.append(device_id)
            continue
        reason = _("Not paid: agreement %(number)s, dunning step %(step)s") % {
            "number": case.agreement.number,
            "step": step,
        }
        key = _key(case, step, device_id)
        if _ask(done, device_id, Kind.SET_POWER_LIMIT, {_LIMIT: watts}, reason, key, now):
            done.limits[str(device_id)] = before
    return done


def restore(case: DunningCase, *, reason: str, now: datetime) -> Done:
    """Give back what this case has cut, also where the command for it was never sent: that one is
    superseded. A unit that cannot be asked now is brought to it once it can be. What somebody has
    switched since is left as it is.
    """
    done = Done()
    cuts = case.events.filter(kind__in=(DunningKind.LIMIT, DunningKind.DISABLE))
    for event in cuts.order_by("-pk"):
        output = event.kind == DunningKind.DISABLE
        kind = Kind.SET_OUTPUT if output else Kind.SET_POWER_LIMIT
        for device_id in _still_ours(event, kind):
            arguments = (
                {_OUTPUT: 1}
                if output
                else {_LIMIT: event.limits_before.get(str(device_id), NO_POWER_LIMIT)}
            )
            key = f"dunning:{case.pk}:back:{event.step}:{device_id}"
            if not _ask(done, device_id, kind, arguments, reason, key, now):
                commands_operations.want_unasked(
                    kind=kind,
                    arguments=arguments,
                    device_id=device_id,
                    reason=reason,
                    origin=Origin.BILLING,
                    now=now,
                )
    return done


def _still_ours(event: DunningEvent, kind: Kind) -> list[int]:
    """The devices whose last word on this was the event's command."""
    ours = Command.objects.filter(pk__in=event.commands)
    devices = set(ours.values_list("device_id", flat=True))
    later = Command.objects.filter(
        device__in=devices, kind=kind, pk__gt=max(event.commands, default=0)
    ).exclude(state=State.CANCELLED)
    switched = later.exclude(origin__in=[one.value for one in _REPEATS])
    # A person has refused, or cancelled in time, what this asked for: there is nothing to give
    # back. What was sent before may have been done all the same.
    refused = ours.filter(state=State.CANCELLED, attempts=0).exclude(cause=Cause.SUPERSEDED)
    theirs = (rows.values_list("device_id", flat=True) for rows in (switched, refused))
    return sorted(devices.difference(*theirs))


def off_by_others(device_ids: list[int]) -> set[int]:
    """Those of the devices that are wanted off, and not by billing. What an agreement that is over
    has switched off it gives back, so that the next one has to ask for itself.
    """
    off = {pk for pk, wanted in _wanted(device_ids, _OUTPUT).items() if wanted == 0}
    last = (
        Command.objects.filter(device__in=off, kind=Kind.SET_OUTPUT)
        .exclude(origin__in=[one.value for one in _REPEATS])
        .order_by("device_id", "-pk")
        .distinct("device_id")
        .values_list("device_id", "origin")
    )
    return off.difference(pk for pk, origin in last if origin == Origin.BILLING)


def _wanted(device_ids: list[int], setting: str) -> dict[int, int]:
    rows = DeviceConfiguration.objects.filter(device__in=device_ids)
    return {
        device_id: int(desired[setting])
        for device_id, desired in rows.values_list("device_id", "desired")
        if isinstance(desired.get(setting), int)
    }


def _key(case: DunningCase, step: int, device_id: int) -> str:
    return f"dunning:{case.pk}:step:{step}:{device_id}"


def _ask(
    done: Done,
    device_id: int,
    kind: Kind,
    arguments: Mapping[str, Any],
    reason: str,
    key: str,
    now: datetime,
) -> bool:
    """Ask one unit; one that cannot do it, or is not active, is noted as missed."""
    try:
        asked = commands_operations.ask(
            SYSTEM,
            kind=kind,
            arguments=arguments,
            device_ids=[device_id],
            reason=reason,
            origin=Origin.BILLING,
            request_key=key,
            now=now,
        )
    except ValidationError:
        done.missed.append(device_id)
        return False
    done.commands += asked.command_ids
    return True
