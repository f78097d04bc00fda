"""What the pages of derived channels show."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from django.utils.translation import gettext as _

from devices.domain.derived_names import Named
from devices.domain.derived_queries import DerivedEntry, DerivedPage, FormulaPage, Preview
from devices.domain.derived_ready_made import NAMES
from devices.domain.series_bounds import EARLIEST
from devices.formulas.ready_made import ReadyMade
from devices.telemetry.segment_store import moment
from devices.telemetry.series import Curve
from portal.enterprise.registry import texts
from portal.frame.quantities import quantity_name

WIDTH: Final = 600
HEIGHT: Final = 140
_PAD: Final = 6


def derived(found: DerivedPage) -> dict[str, object]:
    """The page of a device's derived channels."""
    zone = found.place.time_zone
    return {
        "place": found.place,
        "channels": [_channel(one, zone) for one in found.channels],
        "offered": [_offer(one) for one in found.offered],
    }


def history(found: FormulaPage) -> dict[str, object]:
    """The versions of a channel's formula, and what the channel is."""
    zone = found.place.time_zone
    return {
        "place": found.place,
        "channel": _channel(found.channel, zone),
        "versions": [
            {
                "since": _since(one.valid_from, zone),
                "known": texts.instant(one.known_at, zone),
                "author": one.author or _("the system"),
                "reason": one.reason,
                "text": one.text,
                "counts": one.counts,
            }
            for one in found.versions
        ],
        "names": names(found.names),
    }


def names(offered: Sequence[Named]) -> list[dict[str, str]]:
    """What a formula may use."""
    return [{"name": one.name, "label": one.label, "unit": one.unit} for one in offered]


def check(found: Preview) -> dict[str, object]:
    """What a formula is and would give, or what is wrong with it."""
    curve = found.curve
    drawn = curve is not None and len(curve.times) > 0
    return {
        "error": found.error,
        "position": found.position,
        "text": found.text,
        "unit": "" if found.unit == "1" else found.unit,
        "plain": found.unit == "1",
        "preview": _drawn(curve, found.zone) if curve is not None and drawn else None,
    }


def _channel(one: DerivedEntry, zone: str) -> dict[str, object]:
    return {
        "pk": one.channel_id,
        "name": one.name,
        "key": one.key,
        "quantity": one.quantity,
        "quantity_name": quantity_name(one.quantity),
        "unit": one.unit,
        "text": one.text,
        "since": "" if one.since is None else _since(one.since, zone),
        "due": None if one.due is None else [texts.instant(at, zone) for at in one.due],
    }


def _since(at: datetime, zone: str) -> str:
    return _("the beginning") if at <= EARLIEST else texts.instant(at, zone)


def _offer(one: ReadyMade) -> dict[str, object]:
    return {
        "key": one.key,
        "name": NAMES[one.key],
        "text": "" if one.asks else one.text,
        "asks": [{"name": name, "label": _asked(name), "unit": unit} for name, unit in one.asks],
    }


def _asked(name: str) -> str:
    return {"capacity": _("Capacity (Ah)"), "cells": _("Cells in series")}[name]


def _drawn(curve: Curve, zone: str) -> dict[str, object]:
    low, high = float(curve.values.min()), float(curve.values.max())
    return {
        "path": _path(curve, low, high),
        "low": f"{low:,.6g}",
        "high": f"{high:,.6g}",
        "last": f"{float(curve.values[-1]):,.6g}",
        "from": texts.instant(moment(int(curve.times[0])), zone),
        "until": texts.instant(moment(int(curve.times[-1])), zone),
    }


def _path(curve: Curve, low: float, high: float) -> str:
    first, last = int(curve.times[0]), int(curve.times[-1])
    across = WIDTH / max(1, last - first)
    scale = (HEIGHT - 2 * _PAD) / (high - low) if high > low else 0.0
    strokes: list[str] = []
    for at, value, gap in zip(
        curve.times.tolist(), curve.values.tolist(), curve.gap_before.tolist(), strict=True
    ):
        pen = "L" if strokes and not gap else "M"
        strokes.append(
            f"{pen}{(at - first) * across:.1f} {HEIGHT - _PAD - (value - low) * scale:.1f}"
        )
    return "".join([*strokes, "h0.1"])
