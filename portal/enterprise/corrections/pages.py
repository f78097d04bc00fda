"""What the pages of corrections show, prepared."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from devices.domain.corrections_preview import DayChange, Preview
from devices.domain.corrections_queries import CorrectionEntry, CorrectionsOfDevice
from devices.models.correction import Kind
from devices.telemetry.series import Curve
from portal.charts import theme
from portal.charts.comparison import comparison_layout
from portal.enterprise.registry import texts
from portal.frame.quantities import (
    NOTHING,
    channel_name,
    energy,
    exact,
    number,
    percent,
    quantity,
)


def corrections(found: CorrectionsOfDevice) -> dict[str, Any]:
    """The list of a device."""
    return {
        **place(found),
        "corrections": [correction(one, found.zone) for one in found.corrections],
        "more": found.more,
    }


def place(found: CorrectionsOfDevice) -> dict[str, Any]:
    """Where it is."""
    return {
        "device": {"pk": found.device_id, "name": found.device_name},
        "facility": {"pk": found.facility_id, "name": found.facility_name, "zone": found.zone},
    }


def correction(one: CorrectionEntry, zone: str) -> dict[str, Any]:
    """A correction in words."""
    withdrawal = one.withdrawal
    return {
        "pk": one.correction_id,
        "device_id": one.device_id,
        "channel": channel_name(one.channel_name, one.quantity),
        "kind": one.kind.label,
        "effect": effect(one),
        "starts": texts.instant(one.starts_at, zone),
        "ends": texts.instant(one.ends_at, zone),
        "reason": one.reason,
        "author": one.author or _("the system"),
        "made": texts.instant(one.known_at, zone),
        "withdrawal": withdrawal
        and {
            "reason": withdrawal.reason,
            "author": withdrawal.author or _("the system"),
            "made": texts.instant(withdrawal.known_at, zone),
        },
    }


def effect(one: CorrectionEntry) -> str:
    """What it does, in a few signs."""
    unit = "" if one.unit == "1" else one.unit
    if one.kind is Kind.SCALE and one.factor is not None and one.offset is not None:
        parts = [f"× {_signed(one.factor)}"] if one.factor != 1 else []
        if one.offset:
            sign = "+" if one.offset > 0 else "\N{MINUS SIGN}"
            parts.append(f"{sign} {exact(abs(one.offset))} {unit}".rstrip())
        return " ".join(parts)
    if one.kind is Kind.SHIFT and one.shift is not None:
        minutes = Decimal(str(one.shift.total_seconds())) / 60
        sign = "+" if minutes > 0 else "\N{MINUS SIGN}"
        return f"{sign} {number(abs(minutes), 0 if minutes == int(minutes) else 2)} min"
    if one.kind is Kind.REPLACE:
        count = one.reading_count or 0
        return ngettext("%(count)s reading", "%(count)s readings", count) % {"count": number(count)}
    return ""


def _signed(value: Decimal) -> str:
    return f"\N{MINUS SIGN}{exact(-value)}" if value < 0 else exact(value)


def preview(found: Preview, unit: str) -> dict[str, Any]:
    """What would change: figures, days, and both curves for `corrections.js`; `unit` is that of the
    channel.
    """
    shown_unit = "" if unit == "1" else unit
    return {
        "offset": "" if not found.offset else quantity(Decimal(str(found.offset)), shown_unit, 3),
        "changed": number(found.changed),
        "readings_before": number(found.readings_before),
        "readings_after": number(found.readings_after),
        "in_energy": found.in_energy,
        "before": _value(found.value_before, found),
        "after": _value(found.value_after, found),
        "difference": _difference(found.value_before, found.value_after, found),
        "starts": texts.instant(found.starts_at, found.zone),
        "ends": texts.instant(found.ends_at, found.zone),
        "cut": found.cut,
        "days": [_day(day, found) for day in found.days],
        "page": {
            "zone": found.zone,
            "templates": theme.templates(),
            "layout": comparison_layout(),
            "unit": shown_unit,
            "lines": [
                {"name": _("Before"), "colour": 7, **_curve(found.before)},
                {"name": _("After"), "colour": 0, **_curve(found.after)},
            ],
        },
    }


def _day(day: DayChange, of: Preview) -> dict[str, Any]:
    return {
        "day": texts.day(day.starts_at, of.zone),
        "before": _value(day.value_before, of),
        "after": _value(day.value_after, of),
        "difference": _difference(day.value_before, day.value_after, of),
        "coverage_before": percent(day.coverage_before),
        "coverage_after": percent(day.coverage_after),
    }


def _value(value: float | None, of: Preview) -> str:
    if value is None:
        return NOTHING
    return energy(value) if of.in_energy else quantity(value, _unit(of), 2)


def _difference(before: float | None, after: float | None, of: Preview) -> str:
    if before is None or after is None:
        return NOTHING
    text = _value(after - before, of)
    return f"+{text}" if after > before else text


def _unit(of: Preview) -> str:
    return "" if of.unit == "1" else of.unit


def _curve(curve: Curve) -> dict[str, list[Any]]:
    """Points with nothing where no line may be drawn."""
    gaps = np.flatnonzero(curve.gap_before)
    times = np.insert(curve.times, gaps, curve.times[gaps])
    values = np.insert(curve.values, gaps, np.nan)
    return {
        "times": times.tolist(),
        "values": [None if one != one else one for one in values.tolist()],
    }
