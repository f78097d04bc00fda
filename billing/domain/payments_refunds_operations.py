"""Giving payments back: what people note, and what services tell of refunds and disputes. Needs an
open scope.

A dispute takes a payment back as a refund does; where the tenant wins it, what comes back is a
payment of its own, to the same account. What is given back of the payment later comes from that.
"""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import Final

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Sum
from django.utils.translation import gettext as _

from billing.domain import ledger_operations
from billing.domain import payments_booking as booking
from billing.domain.payments_operations import PaymentNotFound
from billing.models import AccountEntry, EntryKind, Payment, Provider
from billing.payments.values import Disputed, Received, Refunded

_NOTHING: Final = Decimal(0)
_DISPUTE: Final = "dispute:"
_WON: Final = ":reinstated"


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
    payment = booking.held(Payment.objects.filter(pk=payment_id, amount__gt=0))
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
def take_refund(*, tenant_id: int, provider: Provider, told: Refunded, now: datetime) -> int:
    """What a service has given back of a payment in all; how many refunds were new.

    Raises PaymentNotFound while nobody has told of the payment itself: the service tells again.
    """
    known = Payment.objects.filter(tenant_id=tenant_id, provider=provider)
    payment = booking.held(known.filter(external_id=told.external_id))
    if payment is None:
        raise PaymentNotFound(told.external_id)
    if told.currency != payment.currency:
        return 0
    made = 0
    sources = [payment, *_won(payment)]
    due = min(told.total, payment.amount) - sum(map(_refunded_only, sources), _NOTHING)
    for source in sources:
        amount = min(due, source.amount - refunded(source))
        if amount > 0:
            due -= amount
            made += 1
            back = Received(
                f"{source.external_id}:refunded:{told.total.normalize():f}",
                -amount,
                source.currency,
                told.refunded_on,
            )
            _refund(source, provider, back, now=now, actor_id=None)
    return made


@transaction.atomic
def take_dispute(*, tenant_id: int, provider: Provider, told: Disputed, now: datetime) -> int:
    """What a service has taken back of a payment because the payer disputes it, or has given back
    because the tenant has won; whether that was new, as 1 or 0.

    Raises PaymentNotFound while nobody has told of the payment, or of what was taken: the service
    tells again.
    """
    known = Payment.objects.filter(tenant_id=tenant_id, provider=provider)
    payment = booking.held(known.filter(external_id=told.external_id))
    taken = known.filter(external_id=f"{_DISPUTE}{told.dispute_id}").first()
    if payment is None or (told.won and taken is None):
        raise PaymentNotFound(told.external_id)
    if told.currency != payment.currency:
        return 0
    if told.won:
        assert taken is not None
        return _reinstate(payment, taken, provider, told, now)
    amount = min(told.amount, payment.amount - refunded(payment))
    if taken is not None or amount <= 0:
        return 0
    back = Received(
        f"{_DISPUTE}{told.dispute_id}", -amount, payment.currency, told.on, text=told.dispute_id
    )
    _refund(payment, provider, back, now=now, actor_id=None)
    return 1


def _reinstate(
    payment: Payment, taken: Payment, provider: Provider, told: Disputed, now: datetime
) -> int:
    """A payment of what a dispute had taken."""
    agreement = payment.agreement
    received = Received(
        f"{taken.external_id}{_WON}",
        -taken.amount,
        payment.currency,
        told.on,
        payer=payment.payer,
        text=payment.text,
    )
    row, made = booking.keep(payment.tenant_id, provider, received, agreement, None)
    if not made:
        return 0
    booking.tell(row, None)
    if agreement is not None:
        booking.book(row, agreement, actor_id=None)
        booking.follow([agreement.pk], now)
    return 1


def _won(payment: Payment) -> list[Payment]:
    """What came back of a payment by disputes that the tenant has won, held as it is."""
    disputes = payment.refunded_by.filter(external_id__startswith=_DISPUTE)
    ids = [f"{one}{_WON}" for one in disputes.values_list("external_id", flat=True)]
    rows = Payment.objects.filter(
        tenant_id=payment.tenant_id, provider=payment.provider, external_id__in=ids
    )
    won = list(rows.select_for_update(of=("self",), no_key=True).order_by("pk"))
    ledger_operations.hold(one.agreement_id for one in won if one.agreement_id is not None)
    return won


def _refunded_only(payment: Payment) -> Decimal:
    """How much of a payment was given back without a dispute."""
    rows = payment.refunded_by.exclude(external_id__startswith=_DISPUTE)
    return -(rows.aggregate(total=Sum("amount"))["total"] or _NOTHING)


def refunded(payment: Payment) -> Decimal:
    """How much of a payment was given back."""
    total = payment.refunded_by.aggregate(total=Sum("amount"))["total"]
    return -(total or _NOTHING)


def _refund(
    payment: Payment, provider: Provider, back: Received, *, now: datetime, actor_id: int | None
) -> Payment:
    agreement = payment.agreement
    row, made = booking.keep(
        payment.tenant_id, provider, back, agreement, actor_id, refunds=payment
    )
    if not made:
        return row
    booking.tell(row, actor_id)
    if agreement is not None:
        credit = AccountEntry.objects.get(payment=payment, kind=EntryKind.PAYMENT)
        ledger_operations.free(agreement, credit_id=credit.pk, amount=-row.amount)
        debit = booking.book(row, agreement, actor_id=actor_id)
        ledger_operations.settle(agreement, debit=debit, credit=credit)
        booking.follow([agreement.pk], now)
    return row
