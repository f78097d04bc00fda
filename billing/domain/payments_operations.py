"""Taking payments, whoever tells of them. Needs an open scope.

A payment is known by its provider and what the provider calls it: told of again, nothing changes.
Whatever is paid settles what is owed, and gives back what dunning cut, in the same transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from billing.domain import ledger_operations
from billing.domain import payments_booking as booking
from billing.domain.payments_matching import Match, matches
from billing.models import Agreement, Payment, Provider
from billing.payments.values import Received
from devices.models import Facility

_NOTHING: Final = Decimal(0)
MOST_AMOUNT: Final = Decimal(1_000_000_000)
_MOST: Final = {"most": MOST_AMOUNT}


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
    if received.amount <= _NOTHING:
        raise ValidationError({"amount": [_("Enter an amount of more than nothing.")]})
    if received.amount > MOST_AMOUNT:
        raise ValidationError({"amount": [_("Enter an amount of at most %(most)s.") % _MOST]})
    # By the clock of the place: in the far east it is tomorrow already.
    facility = Facility.objects.get(pk=agreement.facility_id)
    if received.received_on > now.astimezone(ZoneInfo(facility.time_zone)).date():
        raise ValidationError({"received_on": [_("A payment cannot come in the future.")]})
    _require_currency(agreement, received.currency)
    payment, made = booking.keep(
        agreement.tenant_id, Provider.MANUAL, received, agreement, actor_id
    )
    if made:
        booking.tell(payment, actor_id)
        booking.book(payment, agreement, actor_id=actor_id)
        booking.follow([agreement_id], now)
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
        payment, made = booking.keep(tenant_id, provider, received, agreement, actor_id)
        if made:
            booking.tell(payment, actor_id)
            new.append(payment)
            matched += agreement is not None
        if agreement is not None and _booked(payment, agreement, actor_id, made=made):
            moved.add(agreement.pk)
    booking.follow(sorted(moved), now)
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
    if not booking.give(payment, agreement, actor_id):
        raise ValidationError({"agreement": [_("This payment has an account already.")]})
    booking.enter_account(payment, agreement, actor_id=actor_id)
    booking.follow([agreement_id], now)
    return payment


def _booked(payment: Payment, agreement: Agreement, actor_id: int | None, *, made: bool) -> bool:
    """Book a payment that is new, or of which nobody knew whose it is; whether it was one."""
    if made:
        booking.book(payment, agreement, actor_id=actor_id)
        return True
    if payment.agreement_id is not None or payment.currency != agreement.currency:
        return False
    if not booking.give(payment, agreement, actor_id):
        return False
    booking.enter_account(payment, agreement, actor_id=actor_id)
    return True


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
