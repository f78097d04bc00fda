"""A bill and the one in its place, line by line. Needs an open scope."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import zip_longest

from billing.domain.pages_queries import restatement, restatements
from billing.domain.paging import page_of
from billing.models import BillLine, Restatement
from devices.domain.catalogue import Page

_Key = tuple[str, str, str, int]


@dataclass(frozen=True, slots=True)
class LinePair:
    """A line as it was billed and as it comes out now; None where there is none."""

    old: BillLine | None
    new: BillLine | None

    @property
    def any(self) -> BillLine:
        """The one that is there, the new one of two."""
        line = self.new or self.old
        assert line is not None  # a pair is made of at least one
        return line

    @property
    def difference(self) -> Decimal:
        """What the new line comes to more."""
        old = self.old.amount if self.old else Decimal(0)
        return (self.new.amount if self.new else Decimal(0)) - old


@dataclass(frozen=True, slots=True)
class Comparison:
    """A restatement with the lines of both bills; without a new bill (not computed yet, let stand,
    nothing agreed on these days any more) all lines are old ones.
    """

    restatement: Restatement
    lines: tuple[LinePair, ...]


def restatement_page(
    *, limit: int, after: int = 0, state: str | None = None, agreement_id: int | None = None
) -> Page[Restatement]:
    """Restatements by id; one query."""
    wanted = {"state": state, "bill__agreement_id": agreement_id}
    return page_of(restatements(), limit=limit, after=after, wanted=wanted)


def compared(*, restatement_id: int) -> Comparison:
    """One restatement with its lines; two queries. Raises NotThere."""
    row = restatement(restatement_id=restatement_id)
    bills = [pk for pk in (row.bill_id, row.new_bill_id) if pk is not None]
    lines = list(BillLine.objects.filter(bill__in=bills).order_by("position"))
    old = [one for one in lines if one.bill_id == row.bill_id]
    new = [one for one in lines if one.bill_id == row.new_bill_id]
    return Comparison(row, pairs(old, new))


def pairs(old: Sequence[BillLine], new: Sequence[BillLine]) -> tuple[LinePair, ...]:
    """Lines of two bills beside each other: those of the same component, kind, period and tier, the
    first with the first; in the order of the new bill, and what it lacks behind that.
    """
    of_old, of_new = _by_key(old), _by_key(new)
    return tuple(
        LinePair(before, after)
        for key in dict.fromkeys((*of_new, *of_old))
        for before, after in zip_longest(of_old.get(key, ()), of_new.get(key, ()))
    )


def _by_key(lines: Iterable[BillLine]) -> dict[_Key, list[BillLine]]:
    found: dict[_Key, list[BillLine]] = defaultdict(list)
    for line in lines:
        found[line.component, line.kind, line.period, line.tier].append(line)
    return dict(found)
