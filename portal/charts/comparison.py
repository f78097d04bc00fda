"""Two curves of one channel over each other: before and after."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

from portal.charts.theme import separators


def comparison_layout() -> Any:
    """The layout for `static/js/wattline/corrections.js`, ready for JSON; instants are ms."""
    return go.Layout(
        autosize=True,
        separators=separators(),
        margin={"l": 72, "r": 16, "t": 10, "b": 40},
        showlegend=False,
        dragmode=False,
        hovermode="x unified",
        xaxis={
            "type": "date",
            "fixedrange": True,
            "zeroline": False,
            "ticks": "outside",
            "tickangle": 0,
        },
        yaxis={"fixedrange": True, "nticks": 5, "zeroline": True, "hoverformat": "~g"},
    ).to_plotly_json()
