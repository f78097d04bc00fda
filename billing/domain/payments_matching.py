"""Whose a payment is, by the numbers in what the payer wrote. Needs an open scope.

Numbers of bills count before those of agreements, and these before those of customers, however they
are parted ("RE 2026 0001"). Where several agreements could be meant, nobody is: a person decides.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from django.db.models import F, Func, QuerySet, TextField, Value
from django.db.models.functions import Upper

from billing.models import Agreement, Bill, BillState
from billing.payments.values import Received

_WORD: Final = re.compile(r"[A-Z0-9]+")
# Words that may make up one number.
_MOST_WORDS: Final = 6
_LEAST: Final = 4
# Digits alone are as well a year, a date or an amount.
_LEAST_DIGITS: Final = 6
_LONGEST: Final = 60


@dataclass(frozen=True, slots=True)
class Match:
    """An agreement, and by which number it was found: `by` is bill, agreement or customer."""

    agreement_id: int
    agreement_number: str
    currency: str
    by: str
    number: str


def compact(number: str) -> str:
    """A number without what parts it, for comparing; empty where it says too little."""
    joined = "".join(_WORD.findall(number.upper()))
    least = _LEAST_DIGITS if joined.isdigit() else _LEAST
    return joined if least <= len(joined) <= _LONGEST else ""


def numbers_in(text: str) -> frozenset[str]:
    """All that may be a number in a text, as `compact` writes them."""
    words = _WORD.findall(text.upper())
    found = set()
    for at in range(len(words)):
        joined = ""
        for word in words[at : at + _MOST_WORDS]:
            joined += word
            if compact(joined):
                found.add(joined)
    return frozenset(found)


def matches(*, tenant_id: int, payments: Sequence[Received]) -> tuple[Match | None, ...]:
    """Whose each payment is, in their order; three queries."""
    told = [numbers_in(f"{one.reference} . {one.text}") for one in payments]
    wanted = sorted(frozenset().union(*told)) if told else []
    bills = Bill.objects.filter(tenant_id=tenant_id).exclude(state=BillState.DRAFT)
    agreements = Agreement.objects.filter(tenant_id=tenant_id)
    by_kind = {
        "bill": _by_number(bills, "number", "agreement__", wanted),
        "agreement": _by_number(agreements, "number", "", wanted),
        "customer": _by_number(agreements, "customer__number", "", wanted),
    }
    return tuple(_one(numbers, by_kind) for numbers in told)


_Found = dict[str, list[tuple[int, str, str, str]]]


def _by_number(rows: QuerySet[Any], column: str, agreement: str, wanted: Sequence[str]) -> _Found:
    found: _Found = defaultdict(list)
    plain = Func(
        Upper(F(column)),
        Value("[^A-Z0-9]"),
        Value(""),
        Value("g"),
        function="REGEXP_REPLACE",
        output_field=TextField(),
    )
    values = (f"{agreement}pk", f"{agreement}number", f"{agreement}currency", column)
    for pk, number, currency, told in (
        rows.annotate(plain=plain).filter(plain__in=wanted).values_list(*values)
    ):
        found[compact(told)].append((pk, number, currency, told))
    return found


def _one(numbers: Iterable[str], by_kind: Mapping[str, _Found]) -> Match | None:
    numbers = sorted(numbers)
    for kind, found in by_kind.items():
        meant = {row[0]: row for number in numbers for row in found.get(number, ())}
        if len(meant) == 1:
            ((pk, number, currency, told),) = meant.values()
            return Match(pk, number, currency, kind, told)
        if meant:
            return None
    return None
