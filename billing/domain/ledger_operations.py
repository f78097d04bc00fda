"""Entries of accounts and what settles what. Needs an open scope.

Entries and allocations are only added. Whoever adds to an account holds its agreement's row, so
that nothing is settled twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Final

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import F
from django.utils.translation import gettext as _

from billing.accounts import allocation
from billing.accounts.allocation import Credit, Debit, Settled
from billing.domain.ledger_queries import OpenItem, open_items
from billing.models import (
    AccountEntry,
    Agreement,
    Allocation,
    Bill,
    DunningCase,
    EntryKind,
    Payment,
)
from tenants.domain import audit

_WORD: Final = re.compile(r"[A-Z0-9]+")
# Shorter numbers of bills are not looked for in what people write.
_LEAST_NUMBER: Final = 3


class EntryNotFound(Exception):  # noqa: N818 - it reads as what happened
    """No such entry in the scope."""


@dataclass(frozen=True, slots=True)
class Draft:
    """An entry to be made; `amount` is owed where it is positive."""

    kind: EntryKind
    key: str
    amount: Decimal
    booked_on: date
    due_on: date
    text: str = ""
    bill_id: int | None = None
    payment_id: int | None = None


def hold(agreement_ids: Iterable[int]) -> dict[int, Agreement]:
    """Lock the rows of agreements until the end of the transaction, always in the same order."""
    # Not their keys: a row that names an agreement, such as a wallet's movement, is added by who
    # holds the wallet meanwhile. Else a payment that waits for that wallet, and it, wait for each
    # other.
    held = Agreement.objects.select_for_update(of=("self",), no_key=True)
    rows = held.filter(pk__in=set(agreement_ids))
    return {row.pk: row for row in rows.order_by("pk")}


def book(agreement: Agreement, draft: Draft, *, actor_id: int | None) -> AccountEntry:
    """Add an entry; one with the same key that is there already is returned as it is.

    Raises ValidationError for an amount of nothing.
    """
    if not draft.amount:
        raise ValidationError({"amount": [_("The amount must not be nothing.")]})
    entry, _made = AccountEntry.objects.get_or_create(
        tenant_id=agreement.tenant_id,
        key=draft.key,
        defaults={
            "agreement": agreement,
            "facility_id": agreement.facility_id,
            "kind": draft.kind,
            "amount": draft.amount,
            "currency": agreement.currency,
            "bill_id": draft.bill_id,
            "payment_id": draft.payment_id,
            "booked_on": draft.booked_on,
            "due_on": draft.due_on,
            "text": draft.text[:200],
            "created_by_id": actor_id,
        },
    )
    return entry


@transaction.atomic
def allocate(agreement_ids: Sequence[int], *, now: datetime | None = None) -> int:
    """Settle what these agreements owe by what they have in credit: what a payment names, and what
    a credit note takes back, first; then what was due first. Returns how many allocations it made.

    Idempotent. Where something was settled, dunning looks at the account in its next round.
    Raises `allocation.CurrencyMismatch`.
    """
    held = hold(agreement_ids)
    made: list[Allocation] = []
    items = open_items(agreement_ids=list(held))
    named = _named(items)
    for pk, agreement in held.items():
        settled = allocation.allocate(
            [_debit(item) for item in items[pk] if item.open > 0],
            [_credit(item, named) for item in items[pk] if item.open < 0],
        )
        made += _rows(agreement, settled)
    Allocation.objects.bulk_create(made)
    if made:
        now = now or datetime.now(UTC)
        open_cases = DunningCase.objects.filter(agreement__in=held, closed_at__isnull=True)
        open_cases.filter(next_at__gt=now).update(next_at=now)
    return len(made)


def _debit(item: OpenItem) -> Debit:
    return Debit(item.entry_id, item.open, item.due_on, item.currency)


def _credit(item: OpenItem, named: Mapping[int, tuple[int, ...]]) -> Credit:
    return Credit(
        item.entry_id, -item.open, item.booked_on, item.currency, named.get(item.entry_id, ())
    )


def _named(items: Mapping[int, Sequence[OpenItem]]) -> dict[int, tuple[int, ...]]:
    """What credits are for: a credit note the bill that it takes back, a payment the bills whose
    numbers are in its text, a write-off the entry that its key names.
    """
    flat = [item for of in items.values() for item in of]
    credits_of = [item for item in flat if item.open < 0]
    if not credits_of:
        return {}
    by_bill = {item.bill_id: item.entry_id for item in flat if item.open > 0 and item.bill_id}
    notes = {item.bill_id: item.entry_id for item in credits_of if item.bill_id}
    corrects = Bill.objects.filter(pk__in=notes, corrects__in=by_bill)
    found: dict[int, tuple[int, ...]] = {
        notes[pk]: (by_bill[bill],)
        for pk, bill in corrects.values_list("pk", "corrects")
        if bill is not None
    }
    payments = {item.payment_id: item.entry_id for item in credits_of if item.payment_id}
    texts = dict(Payment.objects.filter(pk__in=payments).values_list("pk", "text"))
    for pk, text in texts.items():
        of = next(item for item in credits_of if item.payment_id == pk)
        owed = [item for item in items[of.agreement_id] if item.open > 0 and item.bill_number]
        found[payments[pk]] = tuple(
            item.entry_id for item in owed if mentions(text, item.bill_number)
        )
    for item in credits_of:
        if item.kind is EntryKind.WRITE_OFF:
            found[item.entry_id] = (int(item.key.rpartition(":")[2]),)
    return found


def mentions(text: str, number: str) -> bool:
    """Whether a number stands in what somebody wrote, however it is parted ("RE 2026-0001")."""
    wanted = "".join(_WORD.findall(number.upper()))
    if len(wanted) < _LEAST_NUMBER:
        return False
    words = _WORD.findall(text.upper())
    for at in range(len(words)):
        joined = ""
        for word in words[at:]:
            joined += word
            if joined == wanted:
                return True
            if len(joined) >= len(wanted):
                break
    return False


def _rows(agreement: Agreement, settled: Iterable[Settled]) -> list[Allocation]:
    return [
        Allocation(
            tenant_id=agreement.tenant_id,
            agreement=agreement,
            facility_id=agreement.facility_id,
            debit_id=one.debit,
            credit_id=one.credit,
            amount=one.amount,
        )
        for one in settled
    ]


@transaction.atomic
def write_off(
    *, entry_id: int, reason: str, on: date, now: datetime, actor_id: int | None
) -> AccountEntry:
    """Give up what is open of an entry. Raises EntryNotFound, and ValidationError where nothing is
    owed or no reason given.
    """
    reason = reason.strip()
    if not reason:
        raise ValidationError({"reason": [_("Say why this is written off.")]})
    agreement_id = (
        AccountEntry.objects.filter(pk=entry_id).values_list("agreement", flat=True).first()
    )
    if agreement_id is None:
        raise EntryNotFound(f"entry {entry_id}")
    agreement = hold([agreement_id])[agreement_id]
    items = open_items(agreement_ids=[agreement_id])[agreement_id]
    item = next((one for one in items if one.entry_id == entry_id and one.open > 0), None)
    if item is None:
        raise ValidationError({"entry": [_("Nothing of this is owed any more.")]})
    written = Allocation.objects.filter(debit=entry_id).count()
    entry = book(
        agreement,
        Draft(
            EntryKind.WRITE_OFF, f"write-off:{written}:{entry_id}", -item.open, on, on, text=reason
        ),
        actor_id=actor_id,
    )
    audit.record(
        tenant_id=agreement.tenant_id,
        actor_id=actor_id,
        action="ledger.write_off",
        subject=agreement,
        after={"entry": item.key, "amount": str(item.open), "reason": reason},
    )
    allocate([agreement_id], now=now)
    return entry


@transaction.atomic
def charge(
    agreement: Agreement, draft: Draft, *, actor_id: int | None, now: datetime
) -> AccountEntry:
    """Book a fee that the customer owes, and let credit that is there settle it."""
    entry = book(agreement, draft, actor_id=actor_id)
    allocate([agreement.pk], now=now)
    return entry


def free(agreement: Agreement, *, credit_id: int, amount: Decimal) -> Decimal:
    """Take allocations of a credit back until `amount` of it is open, the latest first; returns
    what could not be freed. Its agreement's row must be held.
    """
    items = open_items(agreement_ids=[agreement.pk])[agreement.pk]
    spare = -sum((item.open for item in items if item.entry_id == credit_id), Decimal(0))
    if spare >= amount:
        return Decimal(0)
    rows = Allocation.objects.filter(credit=credit_id).order_by("pk")
    settled = [
        Settled(row.debit_id, row.credit_id, row.amount)
        # What was given back of this very payment stays so.
        for row in rows.exclude(debit__payment__refunds=F("credit__payment"))
    ]
    undone, missing = allocation.take_back(settled, credit=credit_id, amount=amount - spare)
    Allocation.objects.bulk_create(_rows(agreement, undone))
    return missing


def settle(agreement: Agreement, *, debit: AccountEntry, credit: AccountEntry) -> None:
    """Settle a whole debit by a credit of which enough is open."""
    one = Settled(debit.pk, credit.pk, debit.amount)
    Allocation.objects.bulk_create(_rows(agreement, [one]))
