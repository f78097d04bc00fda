"""What a person asks a correction to be, and what of it can be done; with the sentences for what
cannot.

Needs an open scope and sees what it holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

import numpy as np
from django.core.exceptions import ValidationError
from django.db import connection
from django.utils.translation import gettext as _

from devices.domain.catalogue import ChannelNotFound
from devices.domain.removed import YOUNG
from devices.domain.rollups import series_of
from devices.domain.series_bounds import EARLIEST
from devices.models import Channel
from devices.models.correction import MOST_DAYS, Kind
from devices.telemetry.corrected_reads import read_corrected
from devices.telemetry.correction_store import layers_of, scaling_of
from devices.telemetry.corrections import (
    MOST_RAW,
    CorrectionKind,
    Layer,
    Scaling,
    Window,
    concerned,
    filled,
    scaled,
    standing,
)
from devices.telemetry.retention_store import gone
from devices.telemetry.rollup import QUARTER
from devices.telemetry.rollup_reads import quarter_of
from devices.telemetry.rollup_samples import LONGEST_STEP_MS, Series
from devices.telemetry.rollup_samples import Kind as SeriesKind
from devices.telemetry.segment import HOUR_MS, Readings
from devices.telemetry.segment_store import milliseconds, moment
from devices.telemetry.series_reads import channel_quarters

# Corrections that stand of one channel: each is looked at by every read.
MOST_STANDING: Final = 200
# Readings of one replacement, after what holds has been filled in: a month of minutes.
MOST_READINGS: Final = 50_000
MOST_SHIFT: Final = timedelta(days=366)
_LAST: Final = 1 << 62  # the id of a layer that has none yet: it lies on top of all others


@dataclass(frozen=True, slots=True)
class Draft:
    """What is asked for: `factor` and `offset` (in the channel's unit; None: nothing, and for a
    register what makes it go on from its first reading) for SCALE, `shift` for SHIFT, `readings`
    for REPLACE, each of which with `holds` stands until the next one.
    """

    channel_id: int
    kind: Kind
    starts_at: datetime
    ends_at: datetime
    factor: Decimal | None = None
    offset: Decimal | None = None
    shift: timedelta | None = None
    readings: Sequence[tuple[datetime, Decimal]] = ()
    holds: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class Sound:
    """A draft that can be done, and the channel; `layer` has no number yet."""

    channel: Channel
    series: Series
    kind: Kind
    factor: Decimal | None
    offset: Decimal | None
    layer: Layer
    standing: Sequence[Layer]

    @property
    def key(self) -> tuple[int, int]:
        """Device and number of the channel."""
        return self.channel.device_id, self.channel.number

    @property
    def zone(self) -> str:
        """The time zone of the facility."""
        return self.channel.device.facility.time_zone


def checked(draft: Draft, *, now: datetime) -> Sound:
    """The draft as a layer. Raises ChannelNotFound, and ValidationError at the field at fault."""
    channel = channel_of(draft.channel_id)
    if channel.derived:
        raise ValidationError(
            _(
                "The channel is computed by a formula: correct the channels that it is computed"
                " from, or change the formula."
            )
        )
    _check_period(draft, now)
    layers = standing_of(channel)
    if len(layers) >= MOST_STANDING:
        raise ValidationError(
            _(
                "The channel has %(count)s corrections, which is the most: withdraw some of them,"
                " or put several into one."
            )
            % {"count": MOST_STANDING}
        )
    series = next(
        one
        for one in series_of([channel.device_id])[channel.device_id]
        if one.number == channel.number
    )
    factor, offset = _scale(draft, channel, series)
    layer = Layer(
        layer_id=_LAST,
        kind=CorrectionKind(draft.kind.value),
        start_ms=milliseconds(draft.starts_at),
        end_ms=milliseconds(draft.ends_at),
        known=0,
        scaling=Scaling(1, 0, 1)
        if factor is None or offset is None
        else scaling_of(factor, offset, channel.resolution),
        shift_ms=_shift(draft, now),
        given=_given(draft, channel, series) if draft.kind is Kind.REPLACE else None,
    )
    if draft.kind is Kind.SCALE:
        _check_limits(channel, layer)
    _check_kept(channel, concerned(layer, [*layers, layer]), now)
    return Sound(channel, series, draft.kind, factor, offset, layer, layers)


def channel_of(channel_id: int) -> Channel:
    """The channel with its device and facility; raises ChannelNotFound."""
    row = Channel.objects.select_related("device__facility").filter(pk=channel_id).first()
    if row is None:
        raise ChannelNotFound(f"channel {channel_id}")
    return row


def standing_of(channel: Channel) -> list[Layer]:
    """The corrections of a channel that stand, replacements without their readings."""
    found = layers_of(connection, [channel.device_id], EARLIEST, EARLIEST)
    return standing(found.get((channel.device_id, channel.number), ()))


def _check_period(draft: Draft, now: datetime) -> None:
    for name, at in (("starts_at", draft.starts_at), ("ends_at", draft.ends_at)):
        if at.utcoffset() is None:
            raise ValidationError({name: [_("Give the offset from UTC, for example +01:00 or Z.")]})
    if draft.starts_at < EARLIEST:
        raise ValidationError({"starts_at": [_("Begin after the year 1970.")]})
    if milliseconds(draft.ends_at) <= milliseconds(draft.starts_at):
        raise ValidationError({"ends_at": [_("The end must lie after the beginning.")]})
    if draft.ends_at - draft.starts_at > timedelta(days=MOST_DAYS):
        raise ValidationError({"ends_at": [_("Correct at most ten years at once.")]})
    if draft.ends_at > now:
        raise ValidationError(
            {
                "ends_at": [
                    _(
                        "The period must be over: what the device will measure cannot be corrected"
                        " yet."
                    )
                ]
            }
        )


def _scale(draft: Draft, channel: Channel, series: Series) -> tuple[Decimal | None, Decimal | None]:
    """Factor and offset, for SCALE alone."""
    if draft.kind is not Kind.SCALE:
        return None, None
    factor = Decimal(1) if draft.factor is None else draft.factor
    if factor == 0:
        raise ValidationError(
            {"factor": [_("A factor of 0 would leave nothing: remove the readings instead.")]}
        )
    offset = draft.offset
    if offset is None and series.kind is SeriesKind.REGISTER:
        offset = _going_on(draft, channel, factor)
    offset = offset or Decimal(0)
    if factor == 1 and offset == 0:
        raise ValidationError({"factor": [_("Give a factor other than 1, an offset, or both.")]})
    return _fitting("factor", factor, 10), _fitting("offset", offset, 14)


def _fitting(name: str, number: Decimal, digits: int) -> Decimal:
    """With ten decimals and at most `digits` before them, as it is kept."""
    if not number.is_finite() or abs(number) >= 10**digits:
        raise ValidationError({name: [_("The number is too large.")]})
    kept = number.quantize(Decimal("1e-10"))
    if kept != number:
        raise ValidationError({name: [_("Give at most ten decimals.")]})
    return kept


def _going_on(draft: Draft, channel: Channel, factor: Decimal) -> Decimal:
    """The offset with which a scaled register begins where it stood: what it counted is scaled, not
    where it stands.
    """
    first = _first_raw(channel, draft.starts_at, draft.ends_at)
    return Decimal(0) if first is None else (1 - factor) * first * channel.resolution


def _first_raw(channel: Channel, start: datetime, end: datetime) -> int | None:
    """The first reading of a period in integers of the channel."""
    key = channel.device_id, channel.number
    quarters = channel_quarters(connection, [key], quarter_of(start), end).get(key)
    if quarters is None:
        return None
    for begin in quarters.starts[quarters.n > 0].tolist():
        window = max(start, moment(begin)), min(end, moment(begin) + QUARTER)
        found = read_corrected(connection, [key[0]], *window, channels=[key[1]])
        if key[1] in found.get(key[0], {}):
            return int(found[key[0]][key[1]].readings.raw[0])
    return None


def _check_limits(channel: Channel, layer: Layer) -> None:
    """What the channel can measure must still be told exactly when it is scaled."""
    limits = np.array(
        [int(limit / channel.resolution) for limit in (channel.minimum, channel.maximum)], np.int64
    )
    sound = scaled(np.clip(limits, -MOST_RAW, MOST_RAW), layer.scaling)[1]
    if not sound.all():
        raise ValidationError(
            {"factor": [_("The channel's values would become too large to be told exactly.")]}
        )


def _check_kept(channel: Channel, windows: Sequence[Window], now: datetime) -> None:
    """Roll-ups that rest on readings which retention has removed stay as they are."""
    old = milliseconds((now - YOUNG).replace(microsecond=0))
    hours = {
        (channel.device_id, hour)
        for start, end in windows
        for hour in range(start // HOUR_MS * HOUR_MS, min(end, old), HOUR_MS)
    }
    if gone(connection, hours):
        raise ValidationError(
            {
                "starts_at": [
                    _(
                        "Readings of this period were removed because their time was over; what"
                        " rests on them stays as it is. Correct a period whose readings are kept."
                    )
                ]
            }
        )


def _shift(draft: Draft, now: datetime) -> int:
    if draft.kind is not Kind.SHIFT:
        return 0
    if draft.shift is None or abs(draft.shift) < timedelta(milliseconds=1):
        raise ValidationError({"shift": [_("Give the time by which the readings are to move.")]})
    if abs(draft.shift) > MOST_SHIFT:
        raise ValidationError({"shift": [_("Readings can be moved by at most a year.")]})
    if draft.ends_at + draft.shift > now:
        raise ValidationError({"shift": [_("The readings would lie in the future.")]})
    if draft.starts_at + draft.shift < EARLIEST:
        raise ValidationError({"shift": [_("The readings would lie before the year 1971.")]})
    return draft.shift // timedelta(milliseconds=1)


def _given(draft: Draft, channel: Channel, series: Series) -> Readings:
    """The readings that replace others, with what holds between them."""
    if not draft.readings:
        raise ValidationError({"readings": [_("Give the readings that are to stand there.")]})
    if len(draft.readings) > MOST_READINGS:
        raise _too_many()
    by_time: dict[int, int] = {}
    for at, value in draft.readings:
        if not draft.starts_at <= at < draft.ends_at:
            raise ValidationError(
                {"readings": [_("%(at)s lies outside of the period.") % {"at": _told(at)}]}
            )
        time = milliseconds(at)
        if time in by_time:
            raise ValidationError({"readings": [_("%(at)s is there twice.") % {"at": _told(at)}]})
        by_time[time] = _raw(value, channel)
    times = np.array(sorted(by_time), np.int64)
    raw = np.array([by_time[time] for time in sorted(by_time)], np.int64)
    if draft.holds:
        end_ms = milliseconds(draft.ends_at)
        step = max(series.step_ms, LONGEST_STEP_MS)
        if (end_ms - int(times[0])) // step + len(times) > MOST_READINGS:
            raise _too_many()
        times, raw = filled(times, raw, end_ms, step, linear=series.kind is SeriesKind.REGISTER)
    return Readings(times, np.zeros(len(times), np.int64), raw)


def _too_many() -> ValidationError:
    return ValidationError(
        {
            "readings": [
                _(
                    "These are more than %(count)s readings, one for each minute counted: make"
                    " several corrections of shorter periods."
                )
                % {"count": MOST_READINGS}
            ]
        }
    )


def _raw(value: Decimal, channel: Channel) -> int:
    """A value in integers of the channel, rounded half to even."""
    if not value.is_finite() or not channel.minimum <= value <= channel.maximum:
        raise ValidationError(
            {
                "readings": [
                    _("%(value)s is not between %(least)s and %(most)s, what can be measured.")
                    % {
                        "value": value,
                        "least": f"{channel.minimum.normalize():f}",
                        "most": f"{channel.maximum.normalize():f}",
                    }
                ]
            }
        )
    return int((value / channel.resolution).to_integral_value())


def _told(at: datetime) -> str:
    return at.isoformat(sep=" ", timespec="seconds")
