"""Pay-as-you-go units, their tokens, and what a token is that somebody reads out. Needs an open
scope.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from django.db.models import F, QuerySet

from billing.accounts.tokens import grouped
from billing.domain.pages_queries import NotThere
from billing.domain.paging import page_of
from billing.models import Agreement, PaygToken, PaygUnit, TokenRequest, TokenRequestState
from devices.domain.catalogue import Page
from devices.models import Device

RECENT: Final = 10
# What is shown of requests at once: the oldest, until they are decided.
MOST_WAITING: Final = 50


@dataclass(frozen=True, slots=True)
class TokenFacts:
    """A token: `digits` in threes, `days` that it adds or sets (None: it does something else)."""

    token_id: int
    digits: str
    kind: str
    days: Decimal | None
    amount: Decimal | None
    reason: str
    delivery: str
    issued_at: datetime
    delivered_at: datetime | None


@dataclass(frozen=True, slots=True)
class UnitFacts:
    """A unit, until when it is paid by the tokens issued, and the newest of these."""

    unit_id: int
    device_id: int
    serial: str
    agreement_id: int
    price_per_day: Decimal
    currency: str
    carried: Decimal
    paid_until: datetime | None
    released_at: datetime | None
    tokens: tuple[TokenFacts, ...]


def unit_of_device(*, device_id: int) -> UnitFacts | None:
    """The pay-as-you-go side of a device, None where it has none; two queries."""
    return _facts(PaygUnit.objects.filter(device=device_id))


def unit_of_agreement(*, agreement_id: int, user_id: int | None = None) -> UnitFacts | None:
    """The unit that an agreement pays, with `user_id` only that person's; two queries."""
    rows = PaygUnit.objects.filter(agreement=agreement_id)
    return _facts(rows if user_id is None else rows.filter(agreement__user=user_id))


def unit_rows(*, user_id: int | None = None) -> QuerySet[PaygUnit]:
    """Units for a list, with `user_id` only those that this person pays."""
    rows = PaygUnit.objects.select_related("device", "agreement", "facility")
    return rows if user_id is None else rows.filter(agreement__user=user_id)


def unit_page(
    *,
    limit: int,
    after: int = 0,
    agreement_id: int | None = None,
    device_id: int | None = None,
    user_id: int | None = None,
) -> Page[PaygUnit]:
    """Units by id; one query."""
    wanted = {"agreement_id": agreement_id, "device_id": device_id}
    return page_of(unit_rows(user_id=user_id), limit=limit, after=after, wanted=wanted)


def unit(*, unit_id: int, user_id: int | None = None) -> PaygUnit:
    """One unit; one query. Raises NotThere."""
    found = unit_rows(user_id=user_id).filter(pk=unit_id).first()
    if found is None:
        raise NotThere(f"unit {unit_id}")
    return found


def token_page(
    *, unit_id: int, limit: int, after: int = 0, user_id: int | None = None
) -> Page[PaygToken]:
    """The tokens of a unit by id; two queries. Raises NotThere."""
    of = unit(unit_id=unit_id, user_id=user_id)
    rows = PaygToken.objects.filter(unit=of).select_related("unit")
    return page_of(rows, limit=limit, after=after)


def token_rows() -> QuerySet[PaygToken]:
    """Tokens for a list, with the `serial` number of their unit."""
    rows = PaygToken.objects.select_related("unit")
    return rows.annotate(serial=F("unit__device__serial"))


def token(*, token_id: int) -> PaygToken:
    """One token with its unit; one query. Raises NotThere."""
    found = PaygToken.objects.select_related("unit").filter(pk=token_id).first()
    if found is None:
        raise NotThere(f"token {token_id}")
    return found


def request_page(
    *, limit: int, after: int = 0, unit_id: int | None = None, state: str | None = None
) -> Page[TokenRequest]:
    """Requests for tokens without a payment, by id; one query."""
    wanted = {"unit_id": unit_id, "state": state}
    rows = TokenRequest.objects.select_related("unit", "token__unit")
    return page_of(rows, limit=limit, after=after, wanted=wanted)


def request_of(*, request_id: int) -> TokenRequest:
    """A request with its unit and token; one query. Raises NotThere."""
    rows = TokenRequest.objects.select_related("unit__device", "token__unit")
    found = rows.filter(pk=request_id).first()
    if found is None:
        raise NotThere(f"request {request_id}")
    return found


def waiting_requests(*, agreement_id: int | None = None) -> tuple[TokenRequest, ...]:
    """Requests that wait for somebody's decision, the oldest first and at most `MOST_WAITING`: of
    the unit of an agreement, or of all that the scope sees; one query.
    """
    rows = TokenRequest.objects.filter(state=TokenRequestState.WAITING)
    if agreement_id is not None:
        rows = rows.filter(unit__agreement=agreement_id)
    found = rows.select_related("asked_by", "unit__device", "facility").order_by("pk")
    return tuple(found[:MOST_WAITING])


def devices_for(*, agreement_id: int) -> tuple[Device, ...]:
    """What an agreement could pay by the day: devices of its facility that nobody pays so yet; two
    queries. Raises NotThere.
    """
    agreement = Agreement.objects.filter(pk=agreement_id).first()
    if agreement is None:
        raise NotThere(f"agreement {agreement_id}")
    taken = PaygUnit.objects.values("device")
    rows = Device.objects.filter(facility=agreement.facility_id).exclude(pk__in=taken)
    return tuple(rows.order_by("name", "pk"))


def tokens_like(*, digits: str) -> tuple[tuple[TokenFacts, str], ...]:
    """What tokens of these digits were issued for, each with the serial number of its unit: to tell
    whoever reads one out that it is for another unit. One query.
    """
    plain = "".join(digits.split())
    if not plain.isascii() or not plain.isdigit():
        return ()
    rows = PaygToken.objects.select_related("unit__device").filter(token=plain)
    return tuple((_token(row, row.unit), row.unit.device.serial) for row in rows.order_by("-pk"))


def _facts(rows: QuerySet[PaygUnit]) -> UnitFacts | None:
    unit = rows.select_related("device").first()
    if unit is None:
        return None
    newest = PaygToken.objects.filter(unit=unit).order_by("-pk")[:RECENT]
    return UnitFacts(
        unit_id=unit.pk,
        device_id=unit.device_id,
        serial=unit.device.serial,
        agreement_id=unit.agreement_id,
        price_per_day=unit.price_per_day,
        currency=unit.currency,
        carried=unit.carried,
        paid_until=unit.paid_until,
        released_at=unit.released_at,
        tokens=tuple(_token(row, unit) for row in newest),
    )


def _token(row: PaygToken, unit: PaygUnit) -> TokenFacts:
    timed = row.kind in ("add_time", "set_time")
    return TokenFacts(
        token_id=row.pk,
        digits=grouped(row.token),
        kind=row.kind,
        days=Decimal(row.value) / unit.divider if timed else None,
        amount=row.amount,
        reason=row.reason,
        delivery=row.delivery,
        issued_at=row.issued_at,
        delivered_at=row.delivered_at,
    )
