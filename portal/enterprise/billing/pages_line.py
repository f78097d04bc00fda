"""What the page of a line of a bill shows: its days, the intervals of one day, their readings."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from django.urls import reverse
from django.utils.formats import date_format
from django.utils.translation import pgettext_lazy

from billing.domain.lines_queries import LinePage
from billing.models import AgreementMeter, Flow
from billing.tariffs.values import MILLIWH_PER_KWH, Quality
from portal.charts.bars import Value, bar_chart
from portal.enterprise.billing import pages, words
from portal.frame import quantities

_STATES: Final = {Quality.MEASURED: "", Quality.ESTIMATED: "estimated", Quality.MISSING: "missing"}
QUALITIES: Final = {
    Quality.MEASURED: pgettext_lazy("reading", "measured"),
    Quality.ESTIMATED: pgettext_lazy("reading", "estimated"),
    Quality.MISSING: pgettext_lazy("reading", "missing"),
}
_TONES: Final = {Quality.MEASURED: "good", Quality.ESTIMATED: "warn", Quality.MISSING: "bad"}


def line(found: LinePage, chosen: date | None) -> dict[str, Any]:
    """The page: the line by day, and the intervals of the chosen day, else of the one that counts
    most.
    """
    bill, row = found.bill, found.line
    shown = _Shown(found)
    days = shown.days()
    day = chosen if chosen in {one for one, _value, _state in days} else shown.most(days)
    context: dict[str, Any] = {
        "bill": bill,
        "title": pages.bill_title(bill),
        "line": pages.line_row(row, bill),
        "kind": words.LINE_KINDS.get(row.kind, row.kind),
        "days": words.days(row.first_on, row.end_on),
        "demand": shown.demand,
        "detail": sorted(row.detail.items()),
        "day": day,
    }
    if day is None:
        return context
    intervals = shown.intervals(day)
    chart = bar_chart(
        [
            Value(
                value,
                date_format(one, "j"),
                f"{date_format(one, 'SHORT_DATE_FORMAT')}: {shown.told(value)}",
                _address(found, one),
                "chosen" if one == day else state,
            )
            for one, value, state in days
        ]
    )
    day_chart = bar_chart([one["bar"] for one in intervals])
    return context | {
        "day_title": date_format(day, "l, j F Y"),
        "chart": chart,
        "scale_days": shown.told(chart.most) if chart else "",
        "day_chart": day_chart,
        "scale_day": shown.told(day_chart.most) if day_chart else "",
        "intervals": intervals,
        "sum": None if shown.demand else shown.told(sum(one["value"] for one in intervals)),
        "zone": bill.zone,
    }


def _address(found: LinePage, day: date) -> str:
    address = reverse("bill-line", args=[found.bill.pk, found.line.position])
    return f"{address}?{urlencode({'day': day.isoformat()})}"


class _Shown:
    """A line's intervals as quantities: kWh of intervals, kW of windows."""

    def __init__(self, found: LinePage) -> None:
        self.found = found
        self.demand = found.line.kind == "demand"
        self.zone = ZoneInfo(found.bill.zone)

    def value(self, milliwh: int) -> float:
        """The quantity of an interval."""
        kwh = milliwh / MILLIWH_PER_KWH
        return kwh * 3600 / self.found.step_s if self.demand else kwh

    def told(self, value: float) -> str:
        """With its unit."""
        unit = "W" if self.demand else "Wh"
        return quantities.quantity(value * 1000, unit)

    def days(self) -> list[tuple[date, float, str]]:
        """Each day with its sum, of a demand its highest window, and how well it is known."""
        intervals = self.found.intervals
        day, end = self.found.line.first_on, self.found.line.end_on
        days = []
        while day < end:
            part = self.found.of_day(day)
            milliwh = intervals.milliwh[part]
            if len(milliwh):
                joined = int(milliwh.max()) if self.demand else int(milliwh.sum())
                worst = int(self.found.qualities[part].max())
                days.append((day, self.value(joined), _STATES[Quality(worst)]))
            day = date.fromordinal(day.toordinal() + 1)
        return days

    @staticmethod
    def most(days: Sequence[tuple[date, float, str]]) -> date | None:
        """The day with most of it."""
        return max(days, key=lambda one: abs(one[1]))[0] if days else None

    def intervals(self, day: date) -> list[dict[str, Any]]:
        """The intervals of a day, as the table and the chart show them."""
        found = self.found
        part = found.of_day(day)
        top = found.line.at
        rows = []
        for n in range(*part.indices(len(found.intervals.starts))):
            start = int(found.intervals.starts[n])
            at = datetime.fromtimestamp(start, UTC)
            value = self.value(int(found.intervals.milliwh[n]))
            quality = Quality(int(found.qualities[n]))
            local = at.astimezone(self.zone)
            highest = top is not None and at == top
            rows.append(
                {
                    "at": at,
                    "clock": f"{local:%H:%M}",
                    "value": value,
                    "quantity": self._exact(int(found.intervals.milliwh[n])),
                    "price": self._money(found.intervals.prices, n),
                    "amount": self._money(found.intervals.amounts, n),
                    "quality": QUALITIES[quality],
                    "tone": _TONES[quality],
                    "highest": highest,
                    "readings": [{"label": label, "url": url} for label, url in self._readings(at)],
                    "bar": Value(
                        value,
                        f"{local:%H:%M}",
                        f"{local:%H:%M}: {self.told(value)}",
                        "",
                        "chosen" if highest else _STATES[quality],
                    ),
                }
            )
        return rows

    def _exact(self, milliwh: int) -> str:
        kwh = Decimal(milliwh) / MILLIWH_PER_KWH
        if self.demand:
            return f"{quantities.number(kwh * 3600 / self.found.step_s, 3)}\N{NO-BREAK SPACE}kW"
        return f"{quantities.exact(kwh)}\N{NO-BREAK SPACE}kWh"

    def _money(self, column: Sequence[Decimal], n: int) -> str:
        if not column:
            return ""
        return quantities.price(round(column[n], 8), self.found.bill.currency)

    def _readings(self, at: datetime) -> list[tuple[str, str]]:
        """The way to what each meter measured then."""
        return [
            (
                meter.channel.device.name,
                pages.history_url(meter.channel.device_id, at, self.found.step_s),
            )
            for meter in self.found.meters
            if self._counts(meter, at)
        ]

    def _counts(self, meter: AgreementMeter, at: datetime) -> bool:
        """Whether a meter counted for the line at an instant."""
        flows = {Flow.EXPORT} if self.found.line.kind == "export" else {Flow.IMPORT}
        held = meter.starts_at <= at and (meter.ends_at is None or at < meter.ends_at)
        return held and meter.flow in flows
