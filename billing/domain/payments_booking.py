"""How a payment gets into the books: kept once, given to its account, booked, and what follows from
that. Needs an open scope.

`payments_operations` and `payments_refunds_operations` say what happens; here is what both do.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from django.db.models import QuerySet

from billing.domain import dunning_operations, ledger_operations, prepaid
from billing.domain.ledger_operations import Draft
from billing.models import AccountEntry, Agreement, EntryKind, Payment, Provider
from billing.payments.values import Received
from tenants.domain import audit


def keep(
    tenant_id: int,
    provider: Provider,
    received: Received,
    agreement: Agreement | None,
    actor_id: int | None,
    *,
    refunds: Payment | None = None,
) -> tuple[Payment, bool]:
    """A payment by what its provider calls it, and whether it is new."""
    told = " · ".join(part for part in (received.reference, received.text) if part)
    return Payment.objects.get_or_create(
        tenant_id=tenant_id,
        provider=provider,
        external_id=received.external_id,
        defaults={
            "amount": received.amount,
            "currency": received.currency,
            "received_on": received.received_on,
            "payer": received.payer,
            "payer_account": received.payer_account,
            "text": told[:400],
            "refunds": refunds,
            "agreement": agreement,
            "created_by_id": actor_id,
        },
    )


def held(rows: QuerySet[Payment]) -> Payment | None:
    """The payment with its row and its account held: of two that give it back, or of one that does
    and one that says whose it is, the second sees what the first has done.
    """
    # The payment before its account, though who assigns it holds them the other way round: that one
    # waits only for a payment without an account, and here such a one asks for no account.
    payment = rows.select_for_update(of=("self",), no_key=True).first()
    if payment is not None and payment.agreement_id is not None:
        ledger_operations.hold([payment.agreement_id])
    return payment


def enter_account(payment: Payment, agreement: Agreement, *, actor_id: int | None) -> None:
    """Book a payment, and with it what was given back before anybody knew whose it is."""
    credit = book(payment, agreement, actor_id=actor_id)
    for back in payment.refunded_by.filter(agreement__isnull=True).order_by("pk"):
        give(back, agreement, actor_id)
        debit = book(back, agreement, actor_id=actor_id)
        ledger_operations.settle(agreement, debit=debit, credit=credit)


def give(payment: Payment, agreement: Agreement, actor_id: int | None) -> bool:
    """Note whose a payment is; whether that was not known yet."""
    given = Payment.objects.filter(pk=payment.pk, agreement__isnull=True).update(
        agreement=agreement
    )
    if not given:
        return False
    payment.agreement = agreement
    audit.record(
        tenant_id=payment.tenant_id,
        actor_id=actor_id,
        action="payment.assign",
        subject=payment,
        after={"agreement": agreement.number},
    )
    return True


def book(payment: Payment, agreement: Agreement, *, actor_id: int | None) -> AccountEntry:
    """The entry of a payment: credit, or what is owed again where it went back."""
    draft = Draft(
        EntryKind.PAYMENT if payment.amount > 0 else EntryKind.REFUND,
        f"payment:{payment.pk}",
        -payment.amount,
        payment.received_on,
        payment.received_on,
        text=payment.text,
        payment_id=payment.pk,
    )
    return ledger_operations.book(agreement, draft, actor_id=actor_id)


def follow(agreement_ids: Sequence[int], now: datetime) -> None:
    """Settle what the accounts owe, give back what was cut, fill wallets and issue tokens."""
    ledger_operations.allocate(agreement_ids, now=now)
    dunning_operations.review(agreement_ids=agreement_ids, now=now)
    prepaid.paid(agreement_ids=agreement_ids, now=now, actor_id=None)


def tell(payment: Payment, actor_id: int | None) -> None:
    """The audit row of a payment that is new."""
    audit.record(
        tenant_id=payment.tenant_id,
        actor_id=actor_id,
        action="payment.refund" if payment.amount < 0 else "payment.take",
        subject=payment,
        after={
            "amount": str(payment.amount),
            "currency": payment.currency,
            "received_on": payment.received_on.isoformat(),
            "agreement": payment.agreement.number if payment.agreement else None,
        },
    )
