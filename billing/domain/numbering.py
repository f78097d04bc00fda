"""Consecutive numbers of bills and credit notes, for each series without a gap.

A number is taken by locking the row of its series, in the transaction that makes the document
final: one that is rolled back gives its numbers back.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from django.db import transaction

from billing.models import NumberSeries

# What a series is called in numbers until a tenant says otherwise.
PREFIXES: Final = {"bill": "R-", "credit_note": "G-"}
_DIGITS: Final = 6


class Series(StrEnum):
    """The series of documents; the codes are stored."""

    BILL = "bill"
    CREDIT_NOTE = "credit_note"


def take(*, tenant_id: int, series: Series, count: int) -> list[str]:
    """The next numbers of a series, rising; whoever else wants some waits for this transaction.
    Needs an open scope and a transaction.
    """
    assert transaction.get_connection().in_atomic_block
    rows = NumberSeries.objects.select_for_update().filter(tenant_id=tenant_id, code=series.value)
    row = rows.first()
    if row is None:
        NumberSeries.objects.bulk_create(
            [NumberSeries(tenant_id=tenant_id, code=series.value, prefix=PREFIXES[series.value])],
            ignore_conflicts=True,
        )
        row = rows.get()
    first = row.next_number
    row.next_number = first + count
    row.save(update_fields=["next_number"])
    return [f"{row.prefix}{number:0{_DIGITS}}" for number in range(first, first + count)]
