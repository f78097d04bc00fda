"""Tokens that nobody has paid for: asked for with a reason, and issued once it is agreed.

Needs an open scope. Where the tenant's rule of a second person holds (`BillingSettings`), somebody
else than who has asked decides; without it the token is issued at once.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from billing.accounts.tokens import Kind
from billing.domain import payg_operations
from billing.domain.payg_operations import REASON_LENGTH, UnitNotFound
from billing.models import BillingSettings, PaygUnit, TokenRequest, TokenRequestState
from tenants.domain import audit


class RequestNotFound(Exception):  # noqa: N818 - it reads as what happened
    """No such request for a token in the scope."""


@transaction.atomic
def ask(
    *,
    unit_id: int,
    kind: Kind,
    days: Decimal,
    reason: str,
    now: datetime,
    actor_id: int | None,
) -> TokenRequest:
    """Ask for a token without a payment; where no second person has to agree, it is issued at once.

    Raises UnitNotFound, and ValidationError at the field at fault.
    """
    unit = PaygUnit.objects.select_for_update().filter(pk=unit_id).first()
    if unit is None:
        raise UnitNotFound(f"unit {unit_id}")
    days = payg_operations.days_of(unit, kind, days)
    request = TokenRequest(
        tenant_id=unit.tenant_id,
        unit=unit,
        facility_id=unit.facility_id,
        kind=kind.value,
        days=days,
        reason=payg_operations.reason_of(reason),
        asked_at=now,
        asked_by_id=actor_id,
    )
    request.save()
    if _second_person(unit.tenant_id):
        _tell(request, actor_id, "payg.ask_token")
        return request
    return _issued(request, now=now, actor_id=actor_id)


@transaction.atomic
def agree(*, request_id: int, now: datetime, actor_id: int | None) -> TokenRequest:
    """Issue the token that somebody else has asked for. Raises RequestNotFound, and ValidationError
    where it is decided already, for the one who has asked, and where the unit cannot take it.
    """
    request = _held(request_id)
    if _second_person(request.tenant_id):
        if actor_id is None:
            raise ValidationError(_("A person has to agree: a service account is none."))
        if actor_id == request.asked_by_id:
            raise ValidationError(_("You have asked for this token: somebody else has to agree."))
    return _issued(request, now=now, actor_id=actor_id)


@transaction.atomic
def refuse(*, request_id: int, reason: str, now: datetime, actor_id: int | None) -> TokenRequest:
    """Issue no token; who has asked may take the request back like this. Raises RequestNotFound,
    and ValidationError without a reason or where it is decided already.
    """
    request = _held(request_id)
    reason = reason.strip()
    if not reason:
        raise ValidationError({"reason": [_("Say why no token is issued.")]})
    request.state = TokenRequestState.REFUSED
    request.decided_at, request.decided_by_id = now, actor_id
    request.save(update_fields=["state", "decided_at", "decided_by"])
    _tell(request, actor_id, "payg.refuse_token", refusal=reason[:REASON_LENGTH])
    return request


def _second_person(tenant_id: int) -> bool:
    # Without settings, or in a scope that does not see them, the rule holds.
    rule = BillingSettings.objects.filter(tenant_id=tenant_id).values_list("second_person")
    return rule.first() != (False,)


def _held(request_id: int) -> TokenRequest:
    rows = TokenRequest.objects.select_for_update(of=("self",)).filter(pk=request_id)
    request = rows.first()
    if request is None:
        raise RequestNotFound(f"request {request_id}")
    if request.state != TokenRequestState.WAITING:
        raise ValidationError(_("This request is decided already."))
    return request


def _issued(request: TokenRequest, *, now: datetime, actor_id: int | None) -> TokenRequest:
    request.token = payg_operations.issue(
        unit_id=request.unit_id,
        kind=Kind(request.kind),
        days=request.days,
        reason=request.reason,
        now=now,
        actor_id=actor_id,
    )
    request.state = TokenRequestState.ISSUED
    request.decided_at, request.decided_by_id = now, actor_id
    request.save(update_fields=["state", "token", "decided_at", "decided_by"])
    return request


def _tell(request: TokenRequest, actor_id: int | None, action: str, **more: str) -> None:
    audit.record(
        tenant_id=request.tenant_id,
        actor_id=actor_id,
        action=action,
        subject=request.unit,
        after={
            "kind": request.kind,
            "days": str(request.days),
            "reason": request.reason,
            **more,
        },
    )
