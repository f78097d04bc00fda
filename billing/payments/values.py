"""What was paid, whoever says so."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Final

# Longer texts are cut: as long as the columns of `billing.models.Payment`.
MOST_TEXT: Final = 400
MOST_NAME: Final = 140
MOST_ACCOUNT: Final = 34


def gettext_noop(text: str) -> str:
    """Marks a sentence for the catalogues; what is here knows no Django."""
    return text


class StatementError(ValueError):
    """A file that is no statement, or not a whole one; the message says what to do, in English.

    `line`: the number of the line or entry at fault, from 1. `template` with `values` is what the
    sentence was made of, so that whoever knows the reader's language says it in that.
    """

    def __init__(self, template: str, line: int | None = None, **values: object) -> None:
        sentence = template % values if values else template
        super().__init__(sentence if line is None else f"{sentence} (line {line})")
        self.line = line
        self.template = template
        self.values = values


@dataclass(frozen=True, slots=True)
class Received:
    """Money that came in, or with a negative amount was taken back by the bank.

    `external_id` is the same whenever the same payment is told of. `reference` is a structured
    reference or one that the payment was asked for with; `text` what the payer wrote.
    """

    external_id: str
    amount: Decimal
    currency: str
    received_on: date
    payer: str = ""
    payer_account: str = ""
    text: str = ""
    reference: str = ""


@dataclass(frozen=True, slots=True)
class Refunded:
    """Of a payment, `total` in all has been given back by now."""

    external_id: str
    total: Decimal
    currency: str
    refunded_on: date


@dataclass(frozen=True, slots=True)
class Disputed:
    """The payer disputes a payment, and `amount` of it was taken back; `won`: it is here again."""

    external_id: str
    dispute_id: str
    amount: Decimal
    currency: str
    on: date
    won: bool


@dataclass(frozen=True, slots=True)
class Statement:
    """The payments of a file; `ignored` entries of it are none (what the tenant itself paid)."""

    account: str
    payments: tuple[Received, ...]
    ignored: int = 0


def identified(account: str, payments: Iterable[Received], prefix: str) -> tuple[Received, ...]:
    """Payments of a file with ids that follow from what they say: the same in every file that has
    them. Of payments that say the same in one file the second is another one.

    What is in `external_id` already (the bank's own reference, which may be empty) is part of it.
    """
    seen: dict[str, int] = {}
    made = []
    for one in payments:
        told = "\x1f".join(
            (
                account,
                one.external_id,
                one.received_on.isoformat(),
                format(one.amount.normalize(), "f"),
                one.currency,
                one.payer,
                one.payer_account,
                one.text,
                one.reference,
            )
        )
        digest = hashlib.sha256(told.encode()).hexdigest()[:40]
        seen[digest] = nth = seen.get(digest, 0) + 1
        made.append(replace(one, external_id=f"{prefix}:{digest}" + (f":{nth}" if nth > 1 else "")))
    return tuple(made)
