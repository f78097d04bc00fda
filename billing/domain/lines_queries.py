"""A line of a bill opened to its intervals, from the evidence that the bill was computed from.

Needs an open scope; with `user_id` only that person's own bills are opened.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

import numpy as np

from billing.domain.calendars import midnight, seconds
from billing.domain.evidence import Evidence, evidence_of
from billing.domain.pages_queries import NotThere, bills
from billing.models import AgreementMeter, Bill, BillLine
from billing.tariffs.explaining import explain
from billing.tariffs.parts import Demand
from billing.tariffs.values import Int64s, LineIntervals, Qualities


@dataclass(frozen=True, slots=True, eq=False)
class LinePage:
    """A line with its intervals: `qualities` (n,) as `Quality`, `step_s` how long an interval is;
    for a demand these are its windows. `meters` are those that counted on the line's days.
    """

    bill: Bill
    line: BillLine
    intervals: LineIntervals
    qualities: Qualities
    step_s: int
    meters: tuple[AgreementMeter, ...]

    def of_day(self, day: date) -> slice:
        """The intervals that begin on a local day."""
        edges = [
            seconds(day, self.bill.zone),
            seconds(date.fromordinal(day.toordinal() + 1), self.bill.zone),
        ]
        return slice(*np.searchsorted(self.intervals.starts, edges).tolist())

    def day_of(self, start: int) -> date:
        """The local day that an interval begins on."""
        return datetime.fromtimestamp(start, ZoneInfo(self.bill.zone)).date()


def line_page(*, bill_id: int, position: int, user_id: int | None = None) -> LinePage:
    """A line, four queries. Raises NotThere, and EvidenceError where evidence was damaged."""
    bill = bills(user_id=user_id).filter(pk=bill_id).first()
    line = BillLine.objects.filter(bill_id=bill_id, position=position).first() if bill else None
    if bill is None or line is None:
        raise NotThere
    evidence = evidence_of(bill_id=bill_id)
    # Lines are kept in the order in which they were rated.
    rated = evidence.rating().lines[position - 1]
    opened = explain(evidence.terms, evidence.usage, evidence.period, evidence.context, rated)
    step_s = _step(evidence, line)
    meters = AgreementMeter.objects.filter(
        agreement_id=bill.agreement_id, starts_at__lt=midnight(line.end_on, bill.zone)
    ).exclude(ends_at__lte=midnight(line.first_on, bill.zone))
    return LinePage(
        bill=bill,
        line=line,
        intervals=opened,
        qualities=_qualities(evidence, opened.starts, step_s),
        step_s=step_s,
        meters=tuple(meters.select_related("channel__device").order_by("starts_at", "pk")),
    )


def _step(evidence: Evidence, line: BillLine) -> int:
    """How long the intervals of a line are, or the windows of a demand."""
    for one in evidence.dated:
        for component in one.terms.tariff.components:
            if component.name == line.component and one.terms.first < line.end_on:
                if isinstance(component, Demand):
                    return component.window_min * 60
                return one.terms.tariff.interval_s
    return evidence.usage.step_s


def _qualities(evidence: Evidence, starts: Int64s, step_s: int) -> Qualities:
    """How well intervals are known: as the least known of what was measured in them."""
    found = np.zeros(len(starts), np.uint8)
    usage = evidence.usage
    for part in range(0, step_s, usage.step_s):
        at = np.searchsorted(usage.starts, starts + part)
        inside = at < len(usage.starts)
        matching = inside.copy()
        matching[inside] = usage.starts[at[inside]] == (starts + part)[inside]
        found[matching] = np.maximum(found[matching], usage.quality[at[matching]])
    return found
