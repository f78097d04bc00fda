"""States of several devices at once.

Needs an open scope that contains the tenant; `actor_id` is the user who acts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from devices.domain import operations
from devices.domain.operations import Eviction, TransitionError
from devices.models import Device, DeviceState

# One request changes the states of so many devices at most; a page of the list has fewer.
MAX_AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True)
class StateResult:
    """What became of one device: `refusal` is '' when its state was changed."""

    device_id: int
    serial: str
    name: str
    refusal: str
    eviction: Eviction | None


def change_states(
    *, device_ids: Sequence[int], state: DeviceState, actor_id: int | None
) -> tuple[StateResult, ...]:
    """Suspend or activate several devices, each by itself; in the order of their names.

    A device that cannot change is told with the reason, and the others change all the same. What
    is outside of the scope is left out. At most MAX_AT_ONCE devices.
    """
    if len(device_ids) > MAX_AT_ONCE:
        raise ValidationError(
            _("At most %(count)d devices can be changed at once.") % {"count": MAX_AT_ONCE}
        )
    devices = Device.objects.filter(pk__in=device_ids).order_by("name", "pk")
    return tuple(_change_state(device, state, actor_id) for device in devices)


def _change_state(device: Device, state: DeviceState, actor_id: int | None) -> StateResult:
    if device.state == state:
        refusal, eviction = _("It is in this state already."), None
    else:
        try:
            eviction = operations.change_state(device_id=device.pk, state=state, actor_id=actor_id)
            refusal = ""
        except TransitionError:
            refusal, eviction = _refusal(DeviceState(device.state)), None
    return StateResult(device.pk, device.serial, device.name, refusal, eviction)


def _refusal(state: DeviceState) -> str:
    match state:
        case DeviceState.REVOKED:
            return _("It is revoked, which is final. Register it anew.")
        case DeviceState.PLANNED:
            return _("It is planned and has never been active: it can be activated or revoked.")
        case _:
            return _("Its state does not allow it.")
