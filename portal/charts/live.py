"""The charts of a live page: what each shows, and its layout.

A chart has one quantity; a line is one channel of one device, or the sum of several channels. A
register (a counter that only grows) is drawn from the left edge of the window on: what was counted
since then, because the readings of two counters have nothing in common but their growth.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import plotly.graph_objects as go
from django.utils.translation import gettext as _

from devices.quantities import QUANTITIES
from portal.charts.theme import separators
from portal.frame.quantities import quantity as told
from portal.frame.quantities import quantity_name

# Lines of a chart that are drawn from the start; the others can be switched on in the legend.
SHOWN_LINES: Final = 12
# Lines that a chart has at all: beyond that nobody can tell them apart, nor a phone draw them.
MAX_LINES: Final = 32

# Quantities in the order in which a page shows them; others follow as they come.
_ORDER: Final = (
    "active_power",
    "reactive_power",
    "apparent_power",
    "current",
    "voltage",
    "power_factor",
    "frequency",
    "state_of_charge",
    "temperature",
    "irradiance",
    "thd",
    "energy_import",
    "energy_export",
)
# An axis that starts at zero tells the size of a load; a mains voltage from zero tells nothing.
_FROM_ZERO: Final = frozenset(
    {
        "active_power",
        "reactive_power",
        "apparent_power",
        "current",
        "energy_import",
        "energy_export",
    }
)
# Quantities whose ranges differ so much that they need several scales; up to this factor one does.
_BY_RANGE: Final = frozenset({"voltage"})
_SAME_SCALE: Final = 1.4
_ENDLESS: Final = 1e9


@dataclass(frozen=True, slots=True)
class Source:
    """One channel of one device; the channel by its number."""

    device_id: int
    channel: int


@dataclass(frozen=True, slots=True)
class Line:
    """One line: the sum of its sources (mostly one). `resolution` in the channel's unit, and
    `maximum`, the end of the range that it is rated for.

    `secondary`: left to the legend at first, like the phases beside their sum.
    """

    name: str
    sources: tuple[Source, ...]
    resolution: float
    secondary: bool = False
    maximum: float = 0.0


@dataclass(frozen=True, slots=True)
class Chart:
    """One chart; `key` is the id of its element on the page."""

    key: str
    title: str
    quantity: str
    unit: str
    lines: tuple[Line, ...]
    wide: bool = False
    legend: bool = True

    @property
    def drawn_lines(self) -> tuple[tuple[Line, bool], ...]:
        """The lines that the chart has, and whether each is drawn from the start."""
        room = SHOWN_LINES
        drawn = []
        for line in self.lines[:MAX_LINES]:
            shown = room > 0 and not line.secondary
            room -= shown
            drawn.append((line, shown))
        return tuple(drawn)

    @property
    def is_register(self) -> bool:
        """Whether growth is drawn, not the reading."""
        return QUANTITIES[self.quantity].behaviour == "register"

    @property
    def note(self) -> str:
        """What a person has to know to read the chart."""
        if self.is_register:
            return _("since the left edge")
        return ""

    @property
    def left_out(self) -> int:
        """Lines that are too many for the chart."""
        return max(0, len(self.lines) - MAX_LINES)


def chart_per_quantity(lines: Iterable[tuple[str, str, Line]]) -> list[Chart]:
    """One chart for each quantity among `lines` (quantity code, unit, line), in reading order.

    Voltages of the mains, of photovoltaics and of batteries have a chart each: on one scale, those
    of the mains would be a straight line.
    """
    grouped: dict[tuple[str, str], list[Line]] = {}
    for quantity, unit, line in lines:
        grouped.setdefault((quantity, unit), []).append(line)
    known = {code: position for position, code in enumerate(_ORDER)}
    parts = [
        (quantity, unit, rated, part)
        for quantity, unit in sorted(grouped, key=lambda key: known.get(key[0], len(known)))
        for rated, part in _by_range(quantity, grouped[quantity, unit])
    ]
    repeats = _repeats([quantity for quantity, *_rest in parts])
    return [
        Chart(
            key=f"chart-{quantity.replace('_', '-')}{f'-{index}' if index else ''}",
            title=_title(quantity, unit, rated),
            quantity=quantity,
            unit=unit,
            lines=tuple(sorted(part, key=lambda line: line.secondary)),
        )
        for (quantity, unit, rated, part), index in zip(parts, repeats, strict=True)
    ]


def _by_range(quantity: str, lines: Sequence[Line]) -> list[tuple[float, list[Line]]]:
    """Lines that may share a scale, with the end of their range; 0 where all of them may."""
    if quantity not in _BY_RANGE:
        return [(0.0, list(lines))]
    parts: list[tuple[float, list[Line]]] = []
    for line in sorted(lines, key=lambda line: line.maximum):
        # Who knows no end of their range, such as derived ones, go with those before.
        endless = line.maximum > _ENDLESS
        if parts and (endless or line.maximum <= parts[-1][0] * _SAME_SCALE):
            parts[-1][1].append(line)
        else:
            parts.append((line.maximum, [line]))
    return parts if len(parts) > 1 else [(0.0, list(lines))]


def _title(quantity: str, unit: str, rated: float) -> str:
    name = quantity_name(quantity)
    if not rated:
        return name
    return _("%(quantity)s, rated up to %(rated)s") % {
        "quantity": name, "rated": told(rated, unit),
    }  # fmt: skip


def _repeats(quantities: Sequence[str]) -> list[int]:
    """How many of the same quantity come before each."""
    return [quantities[:at].count(quantity) for at, quantity in enumerate(quantities)]


def browser_spec(chart: Chart) -> dict[str, Any]:
    """What `static/js/wattline/chart.js` draws the chart by, ready for JSON."""
    return {
        "key": chart.key,
        "unit": chart.unit,
        "register": chart.is_register,
        "fill": not chart.legend,
        "layout": _layout(chart),
        "lines": [
            {
                "name": line.name,
                "sources": [[source.device_id, source.channel] for source in line.sources],
                "resolution": line.resolution,
                "shown": shown,
            }
            for line, shown in chart.drawn_lines
        ],
    }


def _layout(chart: Chart) -> Any:
    return go.Layout(
        autosize=True,
        separators=separators(),
        margin={"l": 58, "r": 16, "t": 10, "b": 26},
        showlegend=False,
        dragmode=False,
        hovermode="x unified",
        xaxis={
            "type": "date",
            "fixedrange": True,
            "tickformat": "%H:%M",
            "hoverformat": "%H:%M:%S",
            "zeroline": False,
            "ticks": "outside",
            "ticklen": 6,
            "tickcolor": "rgba(0,0,0,0)",
        },
        # The page brings values to the prefix that fits, and puts the unit behind them.
        yaxis={
            "fixedrange": True,
            "nticks": 5,
            "rangemode": "tozero" if chart.quantity in _FROM_ZERO else "normal",
            "hoverformat": "~g",
            "zeroline": True,
        },
    ).to_plotly_json()
