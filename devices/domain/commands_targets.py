"""Which devices a request means, and which of them can be given commands. Needs an open scope."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from django.core.exceptions import ValidationError
from django.db import connection
from django.utils.translation import gettext as _

from devices.domain import commands_texts as texts
from devices.domain.selection import Selection, devices_of
from devices.models import DeviceState
from devices.protocol.codes import Capability
from devices.telemetry import command_store
from devices.telemetry.command_store import Facts

# Devices that one request may name or select.
MAX_DEVICES: Final = 50_000


class DevicesNotFound(Exception):  # noqa: N818 - it reads as what happened
    """Devices that the scope does not hold; `device_ids` are theirs."""

    def __init__(self, device_ids: Sequence[int]) -> None:
        super().__init__(f"devices {list(device_ids)[:10]}")
        self.device_ids = tuple(device_ids)


def facts_of(device_ids: Sequence[int], selection: Selection | None) -> list[Facts]:
    """The devices that are meant, by id.

    Raises ValidationError, DevicesNotFound, SelectionRefused.
    """
    ids = set(device_ids)
    if selection is not None:
        selected = devices_of(selection).values_list("pk", flat=True)[: MAX_DEVICES + 1]
        ids |= set(selected)
    if not ids:
        raise ValidationError({"devices": [_("No device is meant: name or select at least one.")]})
    if len(ids) > MAX_DEVICES:
        raise ValidationError(
            {
                "devices": [
                    _("More than %(most)s devices are meant: ask for fewer at once.")
                    % {"most": MAX_DEVICES}
                ]
            }
        )
    found = command_store.facts(connection, sorted(ids))
    if missing := ids - {one.device_id for one in found}:
        raise DevicesNotFound(sorted(missing))
    return found


def parted(
    devices: Sequence[Facts], needed: Capability
) -> tuple[list[Facts], dict[str, list[int]]]:
    """The devices that can do it, and the others by the reason why not. Of one that has never said
    what it can do it is not known: it is asked.
    """
    able: list[Facts] = []
    refused: dict[str, list[int]] = defaultdict(list)
    for one in devices:
        lacking = Capability(0)
        if one.capabilities is not None:
            lacking = needed & ~Capability(one.capabilities)
        if one.state != DeviceState.ACTIVE:
            refused[texts.NOT_ACTIVE].append(one.device_id)
        elif lacking & Capability.COMMANDS:
            refused[texts.NO_COMMANDS].append(one.device_id)
        elif lacking & Capability.LIVE:
            refused[texts.NO_LIVE].append(one.device_id)
        else:
            able.append(one)
    return able, dict(refused)


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What would become of a request: the devices that can do it, and the others by the code of the
    reason why not.
    """

    able: tuple[int, ...]
    refused: Mapping[str, Sequence[int]]
    tenants: Mapping[int, int]


def foresee(
    *,
    device_ids: Sequence[int] = (),
    selection: Selection | None = None,
    needed: Capability = Capability.COMMANDS,
) -> Foreseen:
    """Which of the devices can be given commands; nothing is written. Raises as `ask` does.

    `needed`: what a device has to be able to do. `tenants`: whose each device is.
    """
    found = facts_of(device_ids, selection)
    able, refused = parted(found, needed)
    tenants = {one.device_id: one.tenant_id for one in found}
    return Foreseen(tuple(one.device_id for one in able), refused, tenants)
