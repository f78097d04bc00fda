"""A plan by which somebody pays what is owed in parts; one part alone is a promise to pay.

Pure. Days are those of the facility's calendar, amounts `Decimal` in the account's currency.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import ROUND_DOWN, Decimal, InvalidOperation
from enum import StrEnum
from itertools import pairwise
from typing import Any, Final

MOST_PARTS: Final = 120


def gettext_noop(text: str) -> str:
    """Marks a sentence for the catalogues; what is here knows no Django."""
    return text


class PlanError(ValueError):
    """What is no plan; `code` says why: no_parts, too_many, amount, order, sum, form.

    The message is in English; `template` with `values` is what it was made of.
    """

    def __init__(self, code: str, template: str, **values: object) -> None:
        super().__init__(template % values if values else template)
        self.code = code
        self.template = template
        self.values = values


class Standing(StrEnum):
    """How a plan stands. KEPT: everything was paid; MISSED: more is due than was paid."""

    RUNNING = "running"
    KEPT = "kept"
    MISSED = "missed"


@dataclass(frozen=True, slots=True)
class Part:
    """An instalment."""

    due_on: date
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Plan:
    """Instalments in the order of their days. A part is missed `grace_days` after its day."""

    parts: tuple[Part, ...]
    grace_days: int = 3

    @classmethod
    def of(cls, parts: Iterable[Part], *, total: Decimal, grace_days: int = 3) -> Plan:
        """The plan for what is owed. Raises PlanError unless there are parts, each is positive,
        their days rise, and they add up to `total`.
        """
        given = tuple(parts)
        if not given:
            raise PlanError("no_parts", gettext_noop("A plan needs at least one instalment."))
        if len(given) > MOST_PARTS:
            raise PlanError(
                "too_many",
                gettext_noop("A plan has at most %(most)s instalments."),
                most=MOST_PARTS,
            )
        if any(part.amount <= 0 for part in given):
            raise PlanError("amount", gettext_noop("Each instalment must be more than nothing."))
        if any(one.due_on >= other.due_on for one, other in pairwise(given)):
            raise PlanError(
                "order", gettext_noop("Each instalment must be due after the one before.")
            )
        if sum(part.amount for part in given) != total:
            raise PlanError(
                "sum",
                gettext_noop("The instalments must add up to %(total)s."),
                total=f"{total.normalize():f}",
            )
        return cls(given, grace_days)

    @classmethod
    def even(cls, total: Decimal, days: Iterable[date], *, step: Decimal = Decimal("0.01")) -> Plan:
        """Equal parts in multiples of `step`; the first takes what does not divide."""
        due = tuple(days)
        if not due:
            raise PlanError("no_parts", gettext_noop("A plan needs at least one instalment."))
        each = (total / len(due) / step).quantize(Decimal(1), ROUND_DOWN) * step
        first = total - each * (len(due) - 1)
        amounts = [first] + [each] * (len(due) - 1)
        parts = (Part(day, amount) for day, amount in zip(due, amounts, strict=True))
        return cls.of(parts, total=total)

    @classmethod
    def from_json(cls, rows: Iterable[Mapping[str, Any]], *, grace_days: int) -> Plan:
        """What `to_json` gave. Raises PlanError."""
        try:
            parts = tuple(
                Part(date.fromisoformat(row["due_on"]), Decimal(row["amount"])) for row in rows
            )
        except (KeyError, TypeError, ValueError, InvalidOperation) as error:
            raise PlanError(
                "form", gettext_noop("An instalment has a day and an amount.")
            ) from error
        return cls.of(
            parts, total=sum((p.amount for p in parts), Decimal(0)), grace_days=grace_days
        )

    def to_json(self) -> list[dict[str, str]]:
        """As it is stored."""
        return [
            {"due_on": part.due_on.isoformat(), "amount": str(part.amount)} for part in self.parts
        ]

    @property
    def total(self) -> Decimal:
        """What the parts add up to."""
        return sum((part.amount for part in self.parts), Decimal(0))

    def due(self, on: date) -> Decimal:
        """What must have been paid by the end of the grace that ends on or before `on`."""
        late = timedelta(days=self.grace_days)
        return sum((part.amount for part in self.parts if part.due_on + late < on), Decimal(0))

    def stands(self, *, paid: Decimal, on: date) -> Standing:
        """How the plan stands on a day, with what was paid since it was agreed."""
        if paid >= self.total:
            return Standing.KEPT
        return Standing.MISSED if paid < self.due(on) else Standing.RUNNING

    def next_look(self, on: date) -> date | None:
        """The next day on which a part may be missed; None: no more."""
        days = (part.due_on + timedelta(days=self.grace_days + 1) for part in self.parts)
        return min((day for day in days if day > on), default=None)
