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
_PREFIXED_UNITS: Final = frozenset({"W", "var", "VA", "Wh", "varh", "A", "V", "Ah"})


@dataclass(frozen=True, slots=True)
class Source:
    """One channel of one device; the channel by its number."""

    device_id: int
    channel: int


@dataclass(frozen=True, slots=True)
class Line:
    """One line: the sum of its sources (mostly one). `resolution` in the channel's unit.

    `secondary`: left to the legend at first, like the phases beside their sum.
    """

    name: str
    sources: tuple[Source, ...]
    resolution: float
    secondary: bool = False


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
        return self.unit if self.unit not in _PREFIXED_UNITS | {"1"} else ""

    @property
    def left_out(self) -> int:
        """Lines that are too many for the chart."""
        return max(0, len(self.lines) - MAX_LINES)


def chart_per_quantity(lines: Iterable[tuple[str, str, Line]]) -> list[Chart]:
    """One chart for each quantity among `lines` (quantity code, unit, line), in reading order."""
    grouped: dict[tuple[str, str], list[Line]] = {}
    for quantity, unit, line in lines:
        grouped.setdefault((quantity, unit), []).append(line)
    known = {code: position for position, code in enumerate(_ORDER)}
    keys = sorted(grouped, key=lambda key: known.get(key[0], len(known)))
    return [
        Chart(
            key=f"chart-{quantity.replace('_', '-')}{f'-{index}' if index else ''}",
            title=_(QUANTITIES[quantity].name),
            quantity=quantity,
            unit=unit,
            lines=tuple(sorted(grouped[quantity, unit], key=lambda line: line.secondary)),
        )
        for (quantity, unit), index in zip(keys, _repeats(keys), strict=True)
    ]


def _repeats(keys: Sequence[tuple[str, str]]) -> list[int]:
    """How many of the same quantity, in another unit, come before each key."""
    return [sum(other[0] == key[0] for other in keys[:at]) for at, key in enumerate(keys)]


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
    prefixed = chart.unit in _PREFIXED_UNITS
    return go.Layout(
        autosize=True,
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
        },
        yaxis={
            "fixedrange": True,
            "nticks": 5,
            "rangemode": "tozero" if chart.quantity in _FROM_ZERO else "normal",
            "tickformat": "~s" if prefixed else "",
            "ticksuffix": chart.unit if prefixed else "",
            "hoverformat": ".4~s" if prefixed else "",
            "zeroline": True,
        },
    ).to_plotly_json()
