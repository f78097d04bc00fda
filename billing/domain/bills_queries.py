"""Bills and accounts as the API reads them.

Needs an open scope and sees what it holds; with `user_id` only what is made out to that person, and
no drafts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from billing.domain.agreements_queries import agreement
from billing.domain.ledger_queries import Balance, OpenItem, balance_of, open_items
from billing.domain.pages_queries import bills
from billing.domain.paging import page_of
from billing.models import AccountEntry, Agreement, Bill, BillLine, Payment
from devices.domain.catalogue import Page


class BillNotFound(Exception):  # noqa: N818 - it reads as what happened
    """No such bill in the scope, or none that the reader may see."""


@dataclass(frozen=True, slots=True)
class BillFilter:
    """Which bills; None: any. `since` and `until`: those for days of [since, until)."""

    agreement_id: int | None = None
    facility_id: int | None = None
    run_id: int | None = None
    number: str | None = None
    kind: str | None = None
    state: str | None = None
    since: date | None = None
    until: date | None = None

    @property
    def columns(self) -> Mapping[str, Any]:
        """As conditions."""
        return {
            "agreement_id": self.agreement_id,
            "facility_id": self.facility_id,
            "run_id": self.run_id,
            "number": self.number,
            "kind": self.kind,
            "state": self.state,
            "end_on__gt": self.since,
            "first_on__lt": self.until,
        }


@dataclass(frozen=True, slots=True)
class BillDetail:
    """A bill with its lines in their order."""

    bill: Bill
    lines: tuple[BillLine, ...]


@dataclass(frozen=True, slots=True)
class Account:
    """How an agreement's account stands on a day, with what is open."""

    agreement: Agreement
    balance: Balance
    items: tuple[OpenItem, ...]


def bill_page(
    *, limit: int, after: int = 0, wanted: BillFilter, user_id: int | None = None
) -> Page[Bill]:
    """Bills by id; one query."""
    rows = bills(user_id=user_id)
    return page_of(rows, limit=limit, after=after, wanted=wanted.columns)


def bill(*, bill_id: int, user_id: int | None = None) -> BillDetail:
    """One bill with its lines; two queries. Raises BillNotFound."""
    found = bills(user_id=user_id).filter(pk=bill_id).first()
    if found is None:
        raise BillNotFound(f"bill {bill_id}")
    return BillDetail(found, tuple(found.lines.order_by("position")))


def account(*, agreement_id: int, on: date, user_id: int | None = None) -> Account:
    """The account of an agreement; four queries. Raises AgreementNotFound."""
    found = agreement(agreement_id=agreement_id, user_id=user_id)
    items = open_items(agreement_ids=[found.pk])[found.pk]
    return Account(found, balance_of(items, on=on), items)


def entry_page(
    *, agreement_id: int, limit: int, after: int = 0, user_id: int | None = None
) -> Page[AccountEntry]:
    """What moved the account of an agreement, by id; four queries. Raises AgreementNotFound."""
    found = agreement(agreement_id=agreement_id, user_id=user_id)
    rows = AccountEntry.objects.filter(agreement=found)
    return page_of(rows, limit=limit, after=after)


def payment_page(
    *,
    limit: int,
    after: int = 0,
    agreement_id: int | None = None,
    provider: str | None = None,
    assigned: bool | None = None,
) -> Page[Payment]:
    """Payments by id, perhaps of one agreement or provider, or only those that nobody has assigned
    yet; one query. A scope narrowed to facilities sees none.
    """
    wanted = {
        "agreement_id": agreement_id,
        "provider": provider,
        "agreement_id__isnull": None if assigned is None else not assigned,
    }
    return page_of(Payment.objects.all(), limit=limit, after=after, wanted=wanted)
