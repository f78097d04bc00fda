"""Settings of one device or of many, changed by who may: by commands where they can be given, else
as a wish for when the device is there. Needs an open scope.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Min
from django.utils.translation import gettext as _

from devices.commands.kinds import ArgumentError
from devices.commands.states import Origin
from devices.configuration.settings import KINDS, Changes, checked_changes, kinds_of
from devices.domain import commands_texts as texts
from devices.domain import configuration_desired
from devices.domain.commands_operations import ask
from devices.domain.commands_policy import Actor
from devices.domain.commands_targets import foresee
from devices.domain.queries import DeviceNotFound
from devices.domain.selection import Selection
from devices.models import Channel, Device, DeviceConfiguration, DeviceState
from devices.protocol.settings import parse_channels, parse_limits
from devices.telemetry.control_store import Wish
from devices.telemetry.rollup_samples import LONGEST_STEP_MS
from tenants.domain import audit
from tenants.permissions import Permission

# A device in one of these may come (again): what is wanted of it waits.
_TO_COME: Final = (DeviceState.PLANNED, DeviceState.SUSPENDED)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a change of settings comes to: devices that are told, those that are told when they are
    active, and those that cannot have it, by the code of the reason.
    """

    told: tuple[int, ...]
    waiting: tuple[int, ...]
    refused: Mapping[str, tuple[int, ...]]


def plan(
    *,
    changes: Mapping[str, Any],
    device_ids: Sequence[int] = (),
    selection: Selection | None = None,
) -> Plan:
    """Who would get the changes; nothing is written. Raises ValidationError for what is no change,
    DevicesNotFound and SelectionRefused.
    """
    return _plan(_checked(changes), device_ids, selection)[0]


@transaction.atomic
def configure(
    actor: Actor,
    *,
    changes: Mapping[str, Any],
    device_ids: Sequence[int] = (),
    selection: Selection | None = None,
    reason: str = "",
    origin: Origin = Origin.PERSON,
    now: datetime,
) -> Plan:
    """Change settings: values by key as `checked_changes` takes them, None where nothing is wanted
    any more. Returns who gets them.

    Raises ValidationError at the key at fault, NotAllowedError, DevicesNotFound, SelectionRefused.
    """
    actor.require(Permission.DEVICES_CONTROL, _("You may not send commands to devices."))
    wanted = _checked(changes)
    found, tenants = _plan(wanted, device_ids, selection)
    everybody = (*found.told, *found.waiting)
    _require_short_steps(everybody, wanted)
    if len(tenants) == 1:
        if not everybody:
            raise ValidationError({"device": [texts.why_refused(next(iter(found.refused)))]})
        _require_channels(everybody[0], wanted)
    for kind in kinds_of([key for key, value in wanted.items() if value is not None]):
        arguments = {k: v for k, v in wanted.items() if v is not None and KINDS[k] is kind}
        if found.told:
            ask(
                actor,
                kind=kind.value,
                arguments=arguments,
                device_ids=found.told,
                reason=reason,
                origin=origin,
                now=now,
            )
    wish = Wish(wanted, origin.value, reason, actor.user_id, now)
    withdrawn = {key: None for key, value in wanted.items() if value is None}
    if withdrawn and found.told:
        gone = Wish(withdrawn, origin.value, reason, actor.user_id, now)
        configuration_desired.want(device_ids=found.told, wish=gone, told=False)
    if found.waiting:
        configuration_desired.want(device_ids=found.waiting, wish=wish, told=False)
    # What goes by commands is told of by their own entries.
    _tell(actor, found.waiting or (found.told if withdrawn else ()), tenants, wanted)
    return found


@transaction.atomic
def try_again(actor: Actor, *, device_id: int, now: datetime) -> None:
    """Tell a device again what is wanted of it, whatever was tried. Raises DeviceNotFound,
    NotAllowedError.
    """
    actor.require(Permission.DEVICES_CONTROL, _("You may not send commands to devices."))
    row = DeviceConfiguration.objects.select_related("device").filter(device_id=device_id).first()
    if row is None:
        raise DeviceNotFound(f"device {device_id}")
    configuration_desired.try_again(device_ids=[device_id], now=now)
    audit.record(
        tenant_id=row.tenant_id,
        actor_id=actor.user_id,
        action="device.reconcile",
        subject=row.device,
        after={"drift": row.drift},
    )


def _checked(changes: Mapping[str, Any]) -> dict[str, int | str | None]:
    try:
        return checked_changes(changes)
    except ArgumentError as error:
        raise texts.argument_refused(error) from error


def _plan(
    changes: Changes, device_ids: Sequence[int], selection: Selection | None
) -> tuple[Plan, Mapping[int, int]]:
    """The plan, and whose each device is."""
    found = foresee(device_ids=device_ids, selection=selection)
    refused = {code: tuple(ids) for code, ids in found.refused.items()}
    inactive = refused.pop(texts.NOT_ACTIVE, ())
    # An output is switched by a command, which may need a second person: never by waiting.
    coming = () if "output" in changes else _coming(inactive)
    left = tuple(sorted(set(inactive) - set(coming)))
    if left:
        refused[texts.NOT_ACTIVE] = left
    return Plan(found.able, coming, refused), found.tenants


def _coming(device_ids: Sequence[int]) -> tuple[int, ...]:
    rows = Device.objects.filter(pk__in=device_ids, state__in=_TO_COME).order_by("pk")
    return tuple(rows.values_list("pk", flat=True))


def _require_short_steps(device_ids: Sequence[int], changes: Changes) -> None:
    """Readings that follow each other later than usual are taken for gaps: a minute, or what the
    device's type says.
    """
    step_ms = changes.get("step_ms")
    if not isinstance(step_ms, int) or step_ms <= LONGEST_STEP_MS:
        return
    slowest = Device.objects.filter(pk__in=device_ids).aggregate(
        step_ms=Min("device_type__step_ms")
    )["step_ms"]
    if slowest is not None and step_ms > slowest:
        raise ValidationError(
            {
                "step_ms": [
                    _("At most %(most)s ms: what is further apart is taken for a gap.")
                    % {"most": max(LONGEST_STEP_MS, slowest)}
                ]
            }
        )


def _require_channels(device_id: int, changes: Changes) -> None:
    """Of a single device, its own channels alone are named."""
    named = {
        "channels": parse_channels(str(changes["channels"])) if changes.get("channels") else (),
        "limits": tuple(parse_limits(str(changes["limits"]))) if changes.get("limits") else (),
    }
    known = set(
        Channel.objects.filter(device_id=device_id, derived=False).values_list("number", flat=True)
    )
    for key, numbers in named.items():
        unknown = sorted(set(numbers) - known)
        if unknown:
            raise ValidationError(
                {
                    key: [
                        _("The device has no channel %(numbers)s.")
                        % {"numbers": ", ".join(map(str, unknown))}
                    ]
                }
            )


def _tell(
    actor: Actor, device_ids: Sequence[int], tenants: Mapping[int, int], changes: Changes
) -> None:
    """An audit entry for each tenant; its subject is the device, or the first of several."""
    for tenant_id in sorted({tenants[pk] for pk in device_ids}):
        own = [pk for pk in device_ids if tenants[pk] == tenant_id]
        audit.record(
            tenant_id=tenant_id,
            actor_id=actor.user_id,
            action="device.configure",
            subject=Device.objects.get(pk=own[0]),
            after={"settings": dict(changes), "count": len(own)},
        )
