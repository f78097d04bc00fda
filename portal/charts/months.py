"""Amounts of months side by side as SVG without script: one bar for each of a few names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from portal.charts.bars import BarChart, Value, bar_chart


@dataclass(frozen=True, slots=True)
class Month:
    """What the names cost in a month: `values` and `titles` have one entry for each name."""

    label: str
    values: tuple[float, ...]
    titles: tuple[str, ...]


def month_chart(months: Sequence[Month]) -> BarChart | None:
    """The chart: bars of a month beside each other with its label below the first of them, then a
    gap. The state of a bar is the place of its name, `s0`, `s1`, …
    """
    values = []
    for month in months:
        for place, (value, title) in enumerate(zip(month.values, month.titles, strict=True)):
            values.append(Value(value, "" if place else month.label, title, "", f"s{place}"))
        values.append(Value(0.0, "", ""))
    chart = bar_chart(values[:-1])
    if chart is None:
        return None
    width = len(months[0].values) + 1
    step = chart.width / len(values[:-1])
    middle = (width - 1) / 2
    return BarChart(
        bars=tuple(bar for bar in chart.bars if bar.title),
        labels=tuple(
            (round((n * width + middle) * step, 2), month.label) for n, month in enumerate(months)
        ),
        top=chart.top,
        zero=chart.zero,
        most=chart.most,
        least=chart.least,
    )
