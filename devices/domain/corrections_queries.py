"""The corrections of channels, as plain values. Needs an open scope and sees what it holds."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from django.db.models import QuerySet

from devices.domain.catalogue import Page
from devices.domain.corrections_checks import channel_of
from devices.domain.queries import DeviceNotFound
from devices.models import Channel, Correction, Device
from devices.models.correction import Kind

# Of one device on its page, the newest first.
MOST_LISTED = 200


class CorrectionNotFound(Exception):  # noqa: N818 - it reads as what happened
    """No such correction in the scope."""


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """That a correction does not count any more, from `known_at` on."""

    reason: str
    author: str
    known_at: datetime


@dataclass(frozen=True, slots=True)
class CorrectionEntry:
    """A correction of a channel in [starts_at, ends_at). `author` is empty for the system."""

    correction_id: int
    device_id: int
    channel_id: int
    channel_name: str
    quantity: str
    unit: str
    kind: Kind
    starts_at: datetime
    ends_at: datetime
    factor: Decimal | None
    offset: Decimal | None
    shift: timedelta | None
    reading_count: int | None
    reason: str
    author: str
    known_at: datetime
    withdrawal: Withdrawal | None


@dataclass(frozen=True, slots=True)
class ChannelChoice:
    """A channel that may be corrected."""

    channel_id: int
    number: int
    name: str
    quantity: str
    unit: str


@dataclass(frozen=True, slots=True)
class CorrectionsOfDevice:
    """The corrections of a device, the newest first; `more` says that older ones are left out."""

    device_id: int
    device_name: str
    facility_id: int
    facility_name: str
    zone: str
    channels: tuple[ChannelChoice, ...]
    corrections: tuple[CorrectionEntry, ...]
    more: bool


def corrections_of_device(*, device_id: int) -> CorrectionsOfDevice:
    """The device with its channels and corrections; three queries. Raises DeviceNotFound."""
    device = Device.objects.select_related("facility").filter(pk=device_id).first()
    if device is None:
        raise DeviceNotFound(f"device {device_id}")
    channels = {row.number: row for row in device.channels.order_by("number")}
    rows = list(_rows().filter(device=device).order_by("-pk")[: MOST_LISTED + 1])
    return CorrectionsOfDevice(
        device_id=device.pk,
        device_name=device.name,
        facility_id=device.facility_id,
        facility_name=device.facility.name,
        zone=device.facility.time_zone,
        channels=tuple(
            ChannelChoice(row.pk, row.number, row.name, row.quantity, row.unit)
            for row in channels.values()
        ),
        corrections=tuple(_entry(row, channels[row.channel]) for row in rows[:MOST_LISTED]),
        more=len(rows) > MOST_LISTED,
    )


def correction_page(*, channel_id: int, limit: int, after: int = 0) -> Page[CorrectionEntry]:
    """The corrections of a channel in the order in which they were made; two queries. Raises
    ChannelNotFound.
    """
    channel = channel_of(channel_id)
    wanted = _rows().filter(device=channel.device_id, channel=channel.number, pk__gt=after)
    rows = list(wanted.order_by("pk")[: limit + 1])
    entries = tuple(_entry(row, channel) for row in rows[:limit])
    return Page(entries, rows[limit - 1].pk if len(rows) > limit else None)


def correction_entry(*, correction_id: int) -> CorrectionEntry:
    """One correction; two queries. Raises CorrectionNotFound."""
    row = _rows().filter(pk=correction_id).first()
    if row is None:
        raise CorrectionNotFound(f"correction {correction_id}")
    return _entry(row, Channel.objects.get(device=row.device_id, number=row.channel))


def _rows() -> QuerySet[Correction]:
    return Correction.objects.select_related("author", "withdrawal__author").defer("readings")


def _entry(row: Correction, channel: Channel) -> CorrectionEntry:
    withdrawal = getattr(row, "withdrawal", None)
    return CorrectionEntry(
        correction_id=row.pk,
        device_id=row.device_id,
        channel_id=channel.pk,
        channel_name=channel.name,
        quantity=channel.quantity,
        unit=channel.unit,
        kind=Kind(row.kind),
        starts_at=row.starts_at,
        ends_at=row.ends_at,
        factor=row.factor,
        offset=row.offset,
        shift=None if row.shift_ms is None else timedelta(milliseconds=row.shift_ms),
        reading_count=row.reading_count,
        reason=row.reason,
        author=row.author.get_full_name() if row.author else "",
        known_at=row.known_at,
        withdrawal=withdrawal
        and Withdrawal(
            withdrawal.reason,
            withdrawal.author.get_full_name() if withdrawal.author else "",
            withdrawal.known_at,
        ),
    )
