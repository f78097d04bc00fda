"""A facility's day by quarters of an hour: what was used, and where it came from, as bars."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, Final

import plotly.graph_objects as go
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from devices.domain.energy import Energy, Quarter
from portal.charts.theme import separators

KEY: Final = "chart-day"
# Places in the colourway, so that a source has the colour that it has in the flow.
GRID: Final = 0
GENERATION: Final = 4
STORAGE: Final = 2

_Part = tuple[str, int, bool, Callable[[Energy], float | None]]


def day_spec(
    quarters: Sequence[Quarter], *, begins_at: datetime, ends_at: datetime
) -> dict[str, Any] | None:
    """What `static/js/wattline/day.js` draws, ready for JSON; None without any energy.

    `bars` have a name, a colour (place in the colourway), whether they are drawn paler, and Wh for
    each of `starts` (ms since the Unix epoch), null where nothing was measured.
    """
    bars = [
        {
            "name": name,
            "colour": colour,
            "pale": pale,
            "values": [_rounded(part(quarter.energy)) for quarter in quarters],
        }
        for name, colour, pale, part in _parts(quarters)
    ]
    if not bars:
        return None
    return {
        "key": KEY,
        "starts": [round(quarter.starts_at.timestamp() * 1000) for quarter in quarters],
        "range": [round(begins_at.timestamp() * 1000), round(ends_at.timestamp() * 1000)],
        "bars": bars,
        "layout": _layout(),
    }


def _parts(quarters: Sequence[Quarter]) -> list[_Part]:
    """The bars that a facility has: upwards what came in, downwards what left."""

    def any_of(value: Callable[[Energy], float | None]) -> bool:
        return any(value(quarter.energy) for quarter in quarters)

    own = any_of(lambda energy: energy.generated_wh)
    stored = any_of(lambda energy: energy.charge_wh) or any_of(lambda energy: energy.discharge_wh)
    parts: list[_Part] = []
    if any_of(lambda energy: energy.imported_wh):
        title = _("From the grid") if own or stored else pgettext("energy", "Used")
        parts.append((title, GRID, False, lambda energy: energy.imported_wh))
    if own:
        parts.append((_("Generated"), GENERATION, False, lambda energy: energy.generated_wh))
    if stored:
        parts.append((_("From the battery"), STORAGE, False, lambda energy: energy.discharge_wh))
        parts.append((_("Into the battery"), STORAGE, True, lambda energy: _down(energy.charge_wh)))
    if any_of(lambda energy: energy.exported_wh):
        parts.append((_("To the grid"), GRID, True, lambda energy: _down(energy.exported_wh)))
    return parts


def _down(value: float | None) -> float | None:
    return None if value is None else -value


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def _layout() -> Any:
    return go.Layout(
        autosize=True,
        separators=separators(),
        margin={"l": 64, "r": 16, "t": 10, "b": 26},
        showlegend=False,
        dragmode=False,
        hovermode="x unified",
        barmode="relative",
        bargap=0.12,
        xaxis={
            "type": "date",
            "fixedrange": True,
            "tickformat": "%H:%M",
            "hoverformat": "%H:%M",
            "zeroline": False,
            "ticks": "outside",
            "ticklen": 6,
            "tickcolor": "rgba(0,0,0,0)",
        },
        yaxis={"fixedrange": True, "nticks": 5, "zeroline": True, "hoverformat": "~g"},
    ).to_plotly_json()
