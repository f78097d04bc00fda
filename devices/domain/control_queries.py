"""What can be done with a device, what was done, and why its output is as it is. Needs an open
scope.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.db import connection
from django.db.models import Count, QuerySet

from devices.commands.kinds import FORMS, Kind
from devices.commands.states import OPEN, State
from devices.domain import commands_texts as texts
from devices.domain.commands_queries import CommandEntry, command_page, entries_of
from devices.domain.commands_targets import DevicesNotFound, foresee
from devices.domain.queries import DeviceNotFound
from devices.models import Command, CommandBatch, Device, DeviceConfiguration
from devices.protocol.codes import Capability
from devices.telemetry import command_store, status
from tenants.scope import require_scope

RECENT: Final = 10
# Commands in a list that is not searched.
MOST_LISTED: Final = 1_000
_OUTPUT: Final = "output"
_NEEDED: Final = frozenset(form.capabilities for form in FORMS.values())


@dataclass(frozen=True, slots=True)
class OutputFacts:
    """The output of a unit: as wanted and as the device says (None: nobody, or it has never said).

    `command` is the last one that was to switch it and was not cancelled: who asked for it, why,
    and whether the device has said that it did.
    """

    wanted: bool | None
    reported: bool | None
    reported_at: datetime | None
    command: CommandEntry | None

    @property
    def off(self) -> bool:
        """Whether it is off: by its own word, else by what is wanted."""
        told = self.wanted if self.reported is None else self.reported
        return told is False

    @property
    def confirmed(self) -> bool:
        """Whether the device says what is wanted."""
        return self.reported is not None and self.reported == self.wanted


@dataclass(frozen=True, slots=True)
class Control:
    """A device and its commands: the newest, and how many are still open. `refused` says why it
    cannot be given any; `kinds` are those that it can.
    """

    device: Device
    connected: bool
    refused: str
    kinds: tuple[Kind, ...]
    output: OutputFacts
    recent: tuple[CommandEntry, ...]
    more: bool
    waiting: int


def control_of(*, device_id: int) -> Control:
    """All of it, in a fixed number of queries. Raises DeviceNotFound."""
    device = Device.objects.select_related("facility", "device_type").filter(pk=device_id).first()
    if device is None:
        raise DeviceNotFound(f"device {device_id}")
    refusals = {needed: _refusal(device_id, needed) for needed in _NEEDED}
    page = command_page(limit=RECENT, device_id=device_id)
    open_states = [state.value for state in OPEN]
    link = status.links(connection, [device_id]).get(device_id)
    return Control(
        device=device,
        connected=link is not None and link.connected,
        refused=refusals[Capability.COMMANDS],
        kinds=tuple(kind for kind in Kind if not refusals[FORMS[kind].capabilities]),
        output=output_of(device_id=device_id),
        recent=page.items,
        more=page.next_after is not None,
        waiting=Command.objects.filter(device_id=device_id, state__in=open_states).count(),
    )


def _refusal(device_id: int, needed: Capability) -> str:
    """Why the device cannot be given commands that need this; empty where it can."""
    try:
        codes = list(foresee(device_ids=[device_id], needed=needed).refused)
    except DevicesNotFound as error:
        raise DeviceNotFound(f"device {device_id}") from error
    return texts.why_refused(codes[0]) if codes else ""


def output_of(*, device_id: int) -> OutputFacts:
    """The output of a device, and who wanted it so; three queries."""
    row = DeviceConfiguration.objects.filter(device_id=device_id).first()
    switched = (
        Command.objects.filter(device_id=device_id, kind=Kind.SET_OUTPUT)
        .exclude(state=State.CANCELLED)
        .order_by("-pk")
        .values_list("pk", flat=True)[:1]
    )
    found = entries_of(list(switched))
    return OutputFacts(
        wanted=_flag(row.desired.get(_OUTPUT)) if row else None,
        reported=_flag((row.reported or {}).get(_OUTPUT)) if row else None,
        reported_at=row.reported_at if row else None,
        command=found[0] if found else None,
    )


def command_rows(*, batch_id: int | None = None) -> QuerySet[Command]:
    """The commands for a list, with what its rows show; with `batch_id` those of a batch alone."""
    rows = Command.objects.select_related("device__facility", "asked_by")
    return rows if batch_id is None else rows.filter(batch_id=batch_id)


def newest_rows(*, state: str = "") -> tuple[QuerySet[Command], bool]:
    """The newest commands for a list (in a state, if one is given: the list leaves out the others),
    and whether there are older ones. A list of a long history would count and sort all of it.
    """
    newest = command_store.newest(
        connection,
        require_scope().tenant_ids,
        [one for one in State if one == state] or list(State),
        before=None,
        most=MOST_LISTED + 1,
    )
    if len(newest) <= MOST_LISTED:
        return command_rows(), False
    return command_rows().filter(pk__gte=newest[MOST_LISTED - 1]), True


def batch_rows() -> QuerySet[CommandBatch]:
    """The batches for a list, with what its rows show."""
    return CommandBatch.objects.select_related("asked_by")


def awaiting() -> int:
    """How many commands wait for somebody's approval."""
    counted = Command.objects.filter(state=State.AWAITING_APPROVAL).aggregate(n=Count("pk"))
    return int(counted["n"])


def _flag(value: object) -> bool | None:
    return bool(value) if value in (0, 1) else None
