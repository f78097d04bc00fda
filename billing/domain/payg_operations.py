"""Units that are paid by the day: registering them, and issuing tokens. Needs an open scope.

What an agreement has in credit on its account buys tokens, and each token is booked as what the
agreement owes for it: so a payment buys once, however often it is told of, a payment that was given
back buys nothing, and what was too little for a day stays on the account for the next time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Sum
from django.utils.translation import gettext as _

from billing.accounts import tokens
from billing.accounts.tokens import Keys, Kind, TokenError
from billing.domain import ledger_operations
from billing.domain.ledger_operations import Draft
from billing.models import (
    AccountEntry,
    Agreement,
    Delivery,
    EntryKind,
    Mode,
    PaygToken,
    PaygUnit,
    Payment,
)
from devices.commands.kinds import Kind as CommandKind
from devices.commands.states import Origin
from devices.domain import commands_operations
from devices.domain.commands_policy import Actor
from devices.models import Device
from tenants import sealing
from tenants.domain import audit

REASON_LENGTH: Final = 200
_NOTHING: Final = Decimal(0)
_TIMED: Final = (Kind.ADD_TIME, Kind.SET_TIME)


class UnitNotFound(Exception):  # noqa: N818 - it reads as what happened
    """No such pay-as-you-go unit, device or agreement in the scope."""


@dataclass(frozen=True, slots=True)
class UnitTerms:
    """How a unit sells time: `divider` units of a token are a day; `count` is that of the newest
    token that it has taken from somebody else.
    """

    price_per_day: Decimal
    divider: int = 1
    extended: bool = False
    restricted_digits: bool = False
    count: int = 0


@transaction.atomic
def register(
    *, agreement_id: int, device_id: int, keys: Keys, terms: UnitTerms, actor_id: int | None
) -> PaygUnit:
    """Let an agreement pay a device by the day. Raises UnitNotFound, and ValidationError at the
    field at fault.
    """
    agreement = Agreement.objects.filter(pk=agreement_id).first()
    device = Device.objects.filter(pk=device_id).first()
    if agreement is None or device is None:
        raise UnitNotFound(f"agreement {agreement_id}, device {device_id}")
    if agreement.mode != Mode.PAYG:
        raise ValidationError({"agreement": [_("This agreement is not pay as you go.")]})
    if device.facility_id != agreement.facility_id:
        raise ValidationError({"device": [_("This device is in another facility.")]})
    unit = PaygUnit(
        tenant_id=agreement.tenant_id,
        device=device,
        facility_id=agreement.facility_id,
        agreement=agreement,
        currency=agreement.currency,
        price_per_day=terms.price_per_day,
        divider=terms.divider,
        extended=terms.extended,
        restricted_digits=terms.restricted_digits,
        count=terms.count,
    )
    unit.seal_keys(keys)
    unit.full_clean()
    unit.save()
    audit.record(
        tenant_id=unit.tenant_id,
        actor_id=actor_id,
        action="payg.register",
        subject=unit,
        after={
            "device": device.serial,
            "agreement": agreement.number,
            "price_per_day": str(terms.price_per_day),
        },
    )
    return unit


@transaction.atomic
def set_price(*, unit_id: int, price_per_day: Decimal, actor_id: int | None) -> PaygUnit:
    """What a day costs from now on. Raises UnitNotFound, ValidationError."""
    unit = _held(unit_id)
    audit.update(
        unit, {"price_per_day": price_per_day}, actor_id=actor_id, action="payg.change_price"
    )
    return unit


def due_units() -> list[tuple[int, int]]:
    """Tenant and id of the units whose account may hold enough for another token; two queries."""
    units = PaygUnit.objects.filter(released_at__isnull=True)
    columns = ("agreement_id", "tenant_id", "pk", "price_per_day", "divider")
    prices = {row[0]: ((row[1], row[2]), row[3] / row[4]) for row in units.values_list(*columns)}
    owed = (
        AccountEntry.objects.filter(agreement_id__in=prices)
        .values("agreement_id")
        .annotate(owed=Sum("amount"))
        .values_list("agreement_id", "owed")
    )
    return sorted(prices[pk][0] for pk, amount in owed if -amount >= prices[pk][1])


@transaction.atomic
def issue_for_credit(*, unit_id: int, now: datetime, actor_id: int | None) -> PaygToken | None:
    """The token for what the unit's agreement has in credit; None where that is too little.

    Idempotent: what a token has cost is no credit any more. Raises UnitNotFound.
    """
    agreement_id = PaygUnit.objects.filter(pk=unit_id).values_list("agreement", flat=True).first()
    if agreement_id is None:
        raise UnitNotFound(f"unit {unit_id}")
    agreement = ledger_operations.hold([agreement_id])[agreement_id]
    unit = _held(unit_id)
    credit = _credit(agreement_id)
    if unit.released_at is not None or credit <= 0:
        return None
    buys = tokens.bought(
        credit, price_per_day=unit.price_per_day, divider=unit.divider, extended=unit.extended
    )
    if not buys.units:
        unit.carried = credit
        unit.save(update_fields=["carried"])
        return None
    unit.carried = buys.left
    token = _make(unit, Kind.ADD_TIME, buys.units, now=now, actor_id=actor_id)
    token.amount = credit - buys.left
    token.payment = _paid_by(agreement_id)
    token.save()
    _book(agreement, token, unit, actor_id)
    ledger_operations.allocate([agreement_id])
    _tell(token, unit, actor_id)
    return token


@transaction.atomic
def issue(
    *,
    unit_id: int,
    kind: Kind,
    days: Decimal = _NOTHING,
    reason: str,
    now: datetime,
    actor_id: int | None,
) -> PaygToken:
    """A token that nobody has paid for, with the reason: goodwill, a counter to be set, the end.

    Raises UnitNotFound, and ValidationError at the field at fault.
    """
    reason = reason_of(reason)
    unit = _held(unit_id)
    value = days_of(unit, kind, days) * unit.divider
    try:
        token = _make(unit, kind, int(value), now=now, actor_id=actor_id)
    except TokenError as error:
        raise ValidationError(
            {"days": [_("A token of this unit cannot carry this time.")]}
        ) from error
    token.reason = reason
    token.save()
    _tell(token, unit, actor_id)
    return token


def reason_of(text: str) -> str:
    """Why a token is issued without a payment. Raises ValidationError."""
    text = text.strip()
    if not text:
        raise ValidationError({"reason": [_("Say why this token is issued without a payment.")]})
    if len(text) > REASON_LENGTH:
        raise ValidationError(
            {"reason": [_("Write at most %(count)s characters.") % {"count": REASON_LENGTH}]}
        )
    return text


def days_of(unit: PaygUnit, kind: Kind, days: Decimal) -> Decimal:
    """The days that a token of this kind carries, none where it has no time. Raises ValidationError
    for what the unit cannot count.
    """
    if kind not in _TIMED:
        return _NOTHING
    if days < 0 or (kind is Kind.ADD_TIME and not days):
        raise ValidationError({"days": [_("Say how many days this token is for.")]})
    value = days * unit.divider
    if value != int(value):
        raise ValidationError(
            {
                "days": [
                    _("This unit counts in steps of 1/%(divider)s day.") % {"divider": unit.divider}
                ]
            }
        )
    if value > (tokens.MOST_EXTENDED_VALUE if unit.extended else tokens.MOST_VALUE):
        raise ValidationError({"days": [_("A token of this unit cannot carry this time.")]})
    return days


@transaction.atomic
def send_to_unit(actor: Actor, *, token_id: int, now: datetime) -> int:
    """Enter a token at its unit over its connection; returns the command. Asked again, it is the
    same command: a unit takes a token once in any case.

    Raises UnitNotFound, NotAllowedError, and ValidationError where the device takes no commands.
    """
    token = PaygToken.objects.select_related("unit").filter(pk=token_id).first()
    if token is None:
        raise UnitNotFound(f"token {token_id}")
    asked = commands_operations.ask(
        actor,
        kind=CommandKind.ENTER_TOKEN.value,
        arguments={"token": token.token},
        device_ids=[token.unit.device_id],
        origin=Origin.BILLING,
        request_key=f"payg:{token.pk}",
        now=now,
    )
    _delivered(token, Delivery.WIRE, now)
    return asked.command_ids[0]


@transaction.atomic
def note_mailed(*, token_ids: Sequence[int], now: datetime) -> None:
    """That tokens were handed to the mail."""
    for token in PaygToken.objects.filter(pk__in=token_ids).order_by("pk"):
        _delivered(token, Delivery.MAIL, now)


def seal_anew(*, tenant_id: int) -> int:
    """Seal the keys of a tenant's units with the key that seals now; returns how many."""
    done = 0
    with transaction.atomic():
        for unit in PaygUnit.objects.select_for_update().filter(tenant=tenant_id):
            if not sealing.is_current(unit.sealed_keys):
                unit.seal_keys(unit.open_keys())
                unit.save(update_fields=["sealed_keys"])
                done += 1
    return done


def _delivered(token: PaygToken, how: Delivery, now: datetime) -> None:
    token.delivery, token.delivered_at = how, now
    token.save(update_fields=["delivery", "delivered_at"])


def _held(unit_id: int) -> PaygUnit:
    unit = PaygUnit.objects.select_for_update().filter(pk=unit_id).first()
    if unit is None:
        raise UnitNotFound(f"unit {unit_id}")
    return unit


def _credit(agreement_id: int) -> Decimal:
    entries = AccountEntry.objects.filter(agreement=agreement_id)
    return -(entries.aggregate(sum=Sum("amount"))["sum"] or _NOTHING)


def _paid_by(agreement_id: int) -> Payment | None:
    """The newest payment that no token names yet."""
    rows = Payment.objects.filter(agreement=agreement_id, amount__gt=0, payg_token__isnull=True)
    return rows.order_by("-pk").first()


def _make(
    unit: PaygUnit, kind: Kind, value: int, *, now: datetime, actor_id: int | None
) -> PaygToken:
    """A token that is not saved, of a unit that is held and saved."""
    made = tokens.make(
        unit.open_keys(),
        count=unit.count,
        kind=kind,
        value=value,
        extended=unit.extended,
        restricted=unit.restricted_digits,
    )
    unit.count = made.count
    span = timedelta(days=value) / unit.divider
    if kind is Kind.ADD_TIME:
        unit.paid_until = max(unit.paid_until or now, now) + span
    elif kind is Kind.SET_TIME:
        unit.paid_until = now + span
    elif kind is Kind.DISABLE_PAYG:
        unit.released_at = now
    unit.save(update_fields=["count", "paid_until", "released_at", "carried"])
    return PaygToken(
        tenant_id=unit.tenant_id,
        unit=unit,
        facility_id=unit.facility_id,
        kind=kind.value,
        token=made.token,
        count=made.count,
        value=value,
        issued_at=now,
        issued_by_id=actor_id,
    )


def _book(agreement: Agreement, token: PaygToken, unit: PaygUnit, actor_id: int | None) -> None:
    """What was bought, as what is owed for it."""
    assert token.amount is not None
    on = token.issued_at.astimezone(UTC).date()
    days = Decimal(token.value) / unit.divider
    ledger_operations.book(
        agreement,
        Draft(
            EntryKind.FEE,
            f"payg:{token.pk}",
            token.amount,
            on,
            on,
            text=f"{days.normalize():f} d",
        ),
        actor_id=actor_id,
    )


def _tell(token: PaygToken, unit: PaygUnit, actor_id: int | None) -> None:
    after: dict[str, Any] = {
        "kind": token.kind,
        "count": token.count,
        "value": token.value,
        "paid_until": unit.paid_until.isoformat() if unit.paid_until else None,
    }
    if token.amount is not None:
        after["amount"] = str(token.amount)
    if token.reason:
        after["reason"] = token.reason
    audit.record(
        tenant_id=unit.tenant_id,
        actor_id=actor_id,
        action="payg.issue_token",
        subject=unit,
        after=after,
    )
