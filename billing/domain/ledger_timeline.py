"""Everything that happened to an account, in one list: bills, payments, dunning, commands, plans.

Needs an open scope.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, time
from decimal import Decimal
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

from billing.models import AccountEntry, Agreement, DunningEvent, InstalmentPlan
from devices.models import CommandEvent


class Subject(StrEnum):
    """What an item of a time line is about."""

    ENTRY = "entry"
    DUNNING = "dunning"
    COMMAND = "command"
    PLAN = "plan"


@dataclass(frozen=True, slots=True)
class TimelineItem:
    """Something that happened. `code` is the kind of an entry or event, the step of a command or
    the state of a plan; `amount` is positive where it is owed. `id` is the row's: an entry's, a
    dunning event's, a command's or a plan's. Of a command, `text` is its kind.
    """

    at: datetime
    subject: Subject
    code: str
    id: int
    amount: Decimal | None = None
    text: str = ""
    bill_id: int | None = None
    payment_id: int | None = None
    device_id: int | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)


def timeline(*, agreement_id: int, most: int = 500) -> tuple[TimelineItem, ...]:
    """What happened to an agreement's account, the newest first, at most `most` items.

    Five queries. An agreement that the scope does not hold has nothing.
    """
    agreement = Agreement.objects.select_related("facility").filter(pk=agreement_id).first()
    if agreement is None:
        return ()
    events = list(DunningEvent.objects.filter(agreement=agreement).order_by("-pk")[:most])
    commands = [pk for event in events for pk in event.commands]
    items = [
        *_entries(agreement, most),
        *(_dunning(event) for event in events),
        *_commands(commands, most),
        *_plans(agreement),
    ]
    items.sort(key=lambda one: (one.at, one.subject.value, one.id), reverse=True)
    return tuple(items[:most])


def _entries(agreement: Agreement, most: int) -> list[TimelineItem]:
    zone = ZoneInfo(agreement.facility.time_zone)
    rows = AccountEntry.objects.filter(agreement=agreement).select_related("bill")
    return [
        TimelineItem(
            # The day counts that it was booked on; at the end of it, unless it was kept that day.
            at=_moment(row, zone),
            subject=Subject.ENTRY,
            code=row.kind,
            id=row.pk,
            amount=row.amount,
            text=(row.bill.number if row.bill else "") or row.text,
            bill_id=row.bill_id,
            payment_id=row.payment_id,
        )
        for row in rows.order_by("-pk")[:most]
    ]


def _moment(row: AccountEntry, zone: ZoneInfo) -> datetime:
    if row.created_at.astimezone(zone).date() == row.booked_on:
        return row.created_at
    return datetime.combine(row.booked_on, time(), zone).astimezone(UTC)


def _dunning(event: DunningEvent) -> TimelineItem:
    return TimelineItem(
        at=event.at,
        subject=Subject.DUNNING,
        code=event.kind,
        id=event.pk,
        amount=event.overdue,
        text=event.text,
    )


def _commands(ids: list[int], most: int) -> list[TimelineItem]:
    rows = CommandEvent.objects.filter(command__in=ids).select_related("command")
    return [
        TimelineItem(
            at=row.at,
            subject=Subject.COMMAND,
            code=row.step,
            id=row.command_id,
            text=row.command.kind,
            device_id=row.device_id,
            arguments=row.command.arguments,
        )
        for row in rows.order_by("-pk")[:most]
    ]


def _plans(agreement: Agreement) -> list[TimelineItem]:
    found = []
    rows: Any = InstalmentPlan.objects.filter(agreement=agreement)
    for row in rows:
        found.append(TimelineItem(row.created_at, Subject.PLAN, "agreed", row.pk, text=row.reason))
        if row.ended_at is not None:
            found.append(TimelineItem(row.ended_at, Subject.PLAN, row.state, row.pk))
    return found
