"""Taking payments, whoever tells of them, and giving them back. Needs an open scope.

A payment is known by its provider and what the provider calls it: told of again, nothing changes.
Whatever is paid settles what is owed, and gives back what dunning cut, in the same transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Final

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet, Sum
from django.utils.translation import gettext as _

from billing.domain import dunning_operations, ledger_operations, prepaid
from billing.domain.ledger_operations import Draft
from billing.domain.payments_matching import Match, matches
from billing.models import AccountEntry, Agreement, EntryKind, Payment, Provider
from billing.payments.values import Received, Refunded
from tenants.domain import audit

_NOTHING: Final = Decimal(0)
MOST_AMOUNT: Final = Decimal(1_000_000_000)


class PaymentNotFound(Exception):  # noqa: N818 - it reads as what happened
    """No such payment in the scope."""


class AgreementNotFound(Exception):  # noqa: N818 - it reads as what happened
    """No such agreement in the scope."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of payments that somebody told of: the new ones, and how many of these have an
    agreement.
    """

    payments: tuple[Payment, ...]
    matched: int


@transaction.atomic
def enter(
    *,
    agreement_id: int,
    received: Received,
    now: datetime,
    actor_id: int | None,
) -> Payment:
    """Take a payment that a person saw; `received.external_id` is what makes it the same when the
    form is sent again. Raises AgreementNotFound, and ValidationError at the field at fault.
    """
    agreement = ledger_operations.hold([agreement_id]).get(agreement_id)
    if agreement is None:
        raise AgreementNotFound(f"agreement {agreement_id}")
    if not _NOTHING < received.amount <= MOST_AMOUNT:
        raise ValidationError({"amount": [_("Enter an amount of more than nothing.")]})
    if received.received_on > now.date():
        raise ValidationError({"received_on": [_("A payment cannot come in the future.")]})
    _require_currency(agreement, received.currency)
    payment, made = _keep(agreement.tenant_id, Provider.MANUAL, received, agreement, actor_id)
    if made:
        _tell(payment, actor_id)
        _book(payment, agreement, actor_id=actor_id)
        _follow([agreement_id], now)
    elif (payment.agreement_id, payment.amount) != (agreement_id, received.amount):
        # Silently taken for the other one, it would be lost.
        raise ValidationError(
            {"request_key": [_("Another payment was entered under this name already.")]}
        )
    return payment


@transaction.atomic
def take(
    *,
    tenant_id: int,
    provider: Provider,
    payments: Sequence[Received],
    now: datetime,
    actor_id: int | None,
) -> Taken:
    """Take payments that a bank or a service tells of, each for the agreement that its text names,
    if one does. One that was taken without an agreement gets it when it is named later.
    """
    found = matches(tenant_id=tenant_id, payments=payments)
    held = ledger_operations.hold(match.agreement_id for match in found if match)
    new: list[Payment] = []
    moved: set[int] = set()
    matched = 0
    for received, match in zip(payments, found, strict=True):
        agreement = _agreement(received, match, held)
        payment, made = _keep(tenant_id, provider, received, agreement, actor_id)
        if made:
            _tell(payment, actor_id)
            new.append(payment)
            matched += agreement is not None
        elif agreement is not None and (
            payment.agreement_id is not None
            or payment.currency != agreement.currency
            or not _give(payment, agreement, actor_id)
        ):
            continue
        if agreement is not None:
            _enter_account(payment, agreement, actor_id=actor_id)
            moved.add(agreement.pk)
    _follow(sorted(moved), now)
    return Taken(tuple(new), matched)


@transaction.atomic
def assign(*, payment_id: int, agreement_id: int, now: datetime, actor_id: int | None) -> Payment:
    """Say whose a payment is that nobody knew, and with it what was given back of it. Raises
    PaymentNotFound, AgreementNotFound, and ValidationError where it has an agreement already, is in
    another currency, or is what was given back of another one.
    """
    agreement = ledger_operations.hold([agreement_id]).get(agreement_id)
    payment = Payment.objects.filter(pk=payment_id).first()
    if payment is None:
        raise PaymentNotFound(f"payment {payment_id}")
    if agreement is None or agreement.tenant_id != payment.tenant_id:
        raise AgreementNotFound(f"agreement {agreement_id}")
    _require_currency(agreement, payment.currency)
    if payment.refunds_id is not None:
        raise ValidationError(
            {"agreement": [_("Assign the payment of which this was given back: it follows.")]}
        )
    if not _give(payment, agreement, actor_id):
        raise ValidationError({"agreement": [_("This payment has an account already.")]})
    _enter_account(payment, agreement, actor_id=actor_id)
    _follow([agreement_id], now)
    return payment


@transaction.atomic
def refund(
    *,
    payment_id: int,
    amount: Decimal,
    reason: str,
    on: date,
    now: datetime,
    actor_id: int | None,
    key: str = "",
) -> Payment:
    """Give a payment back, or a part of it: what it had settled is owed again, the latest first.

    It is told, not sent: the bank or the service does that. Asked again with the same `key`, it is
    done once. Raises PaymentNotFound, and ValidationError for more than is left of it.
    """
    payment = _held(Payment.objects.filter(pk=payment_id, amount__gt=0))
    if payment is None:
        raise PaymentNotFound(f"payment {payment_id}")
    if not reason.strip():
        raise ValidationError({"reason": [_("Say why it is given back.")]})
    done = payment.refunded_by.filter(external_id=_refund_id(payment, key)).first() if key else None
    if done is not None:
        return done
    before = refunded(payment)
    if not _NOTHING < amount <= payment.amount - before:
        raise ValidationError(
            {
                "amount": [
                    _("Of this payment %(left)s can be given back.")
                    % {"left": payment.amount - before}
                ]
            }
        )
    back = Received(
        _refund_id(payment, key or f"{before.normalize():f}"),
        -amount,
        payment.currency,
        on,
        text=reason.strip(),
    )
    return _refund(payment, Provider.MANUAL, back, now=now, actor_id=actor_id)


def _refund_id(payment: Payment, key: str) -> str:
    return f"refund:{payment.pk}:{key}"


@transaction.atomic
def take_refund(
    *, tenant_id: int, provider: Provider, told: Refunded, now: datetime
) -> Payment | None:
    """What a service has given back of a payment; None where that is known already.

    Raises PaymentNotFound while nobody has told of the payment itself: the service tells again.
    """
    payment = _held(
        Payment.objects.filter(tenant_id=tenant_id, provider=provider, external_id=told.external_id)
    )
    if payment is None:
        raise PaymentNotFound(told.external_id)
    amount = min(told.total, payment.amount) - refunded(payment)
    if amount <= 0 or told.currency != payment.currency:
        return None
    back = Received(
        f"{told.external_id}:refunded:{told.total.normalize():f}",
        -amount,
        payment.currency,
        told.refunded_on,
    )
    return _refund(payment, provider, back, now=now, actor_id=None)


def refunded(payment: Payment) -> Decimal:
    """How much of a payment was given back."""
    total = payment.refunded_by.aggregate(total=Sum("amount"))["total"]
    return -(total or _NOTHING)


def _refund(
    payment: Payment, provider: Provider, back: Received, *, now: datetime, actor_id: int | None
) -> Payment:
    agreement = payment.agreement
    row, made = _keep(payment.tenant_id, provider, back, agreement, actor_id, refunds=payment)
    if not made:
        return row
    _tell(row, actor_id)
    if agreement is not None:
        credit = AccountEntry.objects.get(payment=payment, kind=EntryKind.PAYMENT)
        ledger_operations.free(agreement, credit_id=credit.pk, amount=-row.amount)
        debit = _book(row, agreement, actor_id=actor_id)
        ledger_operations.settle(agreement, debit=debit, credit=credit)
        _follow([agreement.pk], now)
    return row


def _agreement(
    received: Received, match: Match | None, held: dict[int, Agreement]
) -> Agreement | None:
    """Whose it is. Money in another currency is left to a person."""
    if match is None or match.currency != received.currency:
        return None
    return held.get(match.agreement_id)


def _require_currency(agreement: Agreement, currency: str) -> None:
    if currency != agreement.currency:
        raise ValidationError(
            {
                "currency": [
                    _("The account is in %(currency)s: payments to it are as well.")
                    % {"currency": agreement.currency}
                ]
            }
        )


def _keep(
    tenant_id: int,
    provider: Provider,
    received: Received,
    agreement: Agreement | None,
    actor_id: int | None,
    *,
    refunds: Payment | None = None,
) -> tuple[Payment, bool]:
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


def _held(rows: QuerySet[Payment]) -> Payment | None:
    """The payment with its row and its account held: of two that give it back, or of one that does
    and one that says whose it is, the second sees what the first has done.
    """
    # The payment before its account, though who assigns it holds them the other way round: that one
    # waits only for a payment without an account, and here such a one asks for no account.
    payment = rows.select_for_update(of=("self",), no_key=True).first()
    if payment is not None and payment.agreement_id is not None:
        ledger_operations.hold([payment.agreement_id])
    return payment


def _enter_account(payment: Payment, agreement: Agreement, *, actor_id: int | None) -> None:
    """Book a payment, and with it what was given back before anybody knew whose it is."""
    credit = _book(payment, agreement, actor_id=actor_id)
    for back in payment.refunded_by.filter(agreement__isnull=True).order_by("pk"):
        _give(back, agreement, actor_id)
        debit = _book(back, agreement, actor_id=actor_id)
        ledger_operations.settle(agreement, debit=debit, credit=credit)


def _give(payment: Payment, agreement: Agreement, actor_id: int | None) -> bool:
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


def _book(payment: Payment, agreement: Agreement, *, actor_id: int | None) -> AccountEntry:
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


def _follow(agreement_ids: Sequence[int], now: datetime) -> None:
    ledger_operations.allocate(agreement_ids, now=now)
    dunning_operations.review(agreement_ids=agreement_ids, now=now)
    prepaid.paid(agreement_ids=agreement_ids, now=now, actor_id=None)


def _tell(payment: Payment, actor_id: int | None) -> None:
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
