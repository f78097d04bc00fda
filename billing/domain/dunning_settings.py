"""What people set and agree on: policies of dunning, plans of payments, payment services.

Needs an open scope.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.db import transaction
from django.utils.translation import gettext as _

from billing.accounts.dunning import PolicyError
from billing.accounts.instalments import Part, Plan, PlanError
from billing.domain import dunning_facts, dunning_operations, ledger_operations
from billing.domain.payments_operations import AgreementNotFound
from billing.domain.sentences import in_words
from billing.models import (
    DunningCase,
    DunningPolicy,
    InstalmentPlan,
    PaymentProvider,
    PlanState,
    Provider,
)
from tenants import sealing
from tenants.domain import audit

_LEAST_SECRET: Final = 16
_MOST_GRACE: Final = 60


class PlanNotFound(Exception):  # noqa: N818 - it reads as what happened
    """No such running plan in the scope."""


@dataclass(frozen=True, slots=True)
class PolicyDraft:
    """What a policy shall be; see `DunningPolicy`."""

    steps: list[dict[str, Any]]
    minimum: Decimal = Decimal(0)
    quiet_weekdays: tuple[int, ...] = (5, 6)
    region: str = ""
    hour_from: int = 8
    hour_to: int = 18
    restore_percent: int = 100
    is_active: bool = True


@transaction.atomic
def set_policy(
    *, tenant_id: int, draft: PolicyDraft, now: datetime, actor_id: int | None
) -> DunningPolicy:
    """Set how a tenant duns; it holds for the cases that are open as well, from their next step on.

    Raises ValidationError with what is wrong.
    """
    values = {
        "steps": draft.steps,
        "minimum": draft.minimum,
        "quiet_weekdays": sorted(set(draft.quiet_weekdays)),
        "region": draft.region.strip().upper(),
        "hour_from": draft.hour_from,
        "hour_to": draft.hour_to,
        "restore_percent": draft.restore_percent,
    }
    try:
        policy = dunning_facts.checked(values, year=now.year)
    except PolicyError as error:
        field = "steps" if error.step else "__all__"
        where = "" if error.step is None else _("Step %(step)s: ") % {"step": error.step}
        raise ValidationError({field: [f"{where}{in_words(error)}"]}) from error
    values |= {
        "steps": [step.to_json() for step in policy.steps],
        "is_active": draft.is_active,
        "next_at": now,
    }
    row, _made = DunningPolicy.objects.select_for_update().get_or_create(tenant_id=tenant_id)
    audit.update(row, values, actor_id=actor_id, action="dunning.policy")
    waiting = DunningCase.objects.filter(tenant=tenant_id, closed_at__isnull=True)
    waiting.filter(next_at__gt=now).update(next_at=now)
    return row


@transaction.atomic
def agree_plan(
    *,
    agreement_id: int,
    parts: Sequence[tuple[date, Decimal]],
    reason: str,
    grace_days: int = 3,
    now: datetime,
    actor_id: int | None,
) -> InstalmentPlan:
    """Agree that what is overdue, or all that is owed, is paid in parts; one part is a promise.

    While the plan is kept, dunning rests, and what it has cut is given back at once.

    Raises AgreementNotFound, and ValidationError where the parts do not add up to either.
    """
    held = ledger_operations.hold([agreement_id]).get(agreement_id)
    if held is None:
        raise AgreementNotFound(f"agreement {agreement_id}")
    account = dunning_facts.account_of(held, now=now)
    if account.plan is not None:
        raise ValidationError({"parts": [_("A plan is running already: end it first.")]})
    if not 0 <= grace_days <= _MOST_GRACE:
        raise ValidationError({"grace_days": [_("Days of grace are 0 to 60.")]})
    if account.facts.overdue <= 0:
        raise ValidationError({"parts": [_("Nothing is overdue.")]})
    if any(day < account.today for day, _amount in parts):
        raise ValidationError({"parts": [_("An instalment cannot be due in the past.")]})
    promised = sum((amount for _day, amount in parts), Decimal(0))
    # What is owed and not overdue yet may be part of it.
    total = account.balance.owed - account.balance.credit
    if promised != total:
        total = account.facts.overdue
    try:
        plan = Plan.of(
            [Part(day, amount) for day, amount in parts], total=total, grace_days=grace_days
        )
    except PlanError as error:
        raise ValidationError({"parts": [in_words(error)]}) from error
    row = audit.insert(
        InstalmentPlan(
            tenant_id=held.tenant_id,
            agreement=held,
            facility_id=held.facility_id,
            currency=held.currency,
            instalments=plan.to_json(),
            paid_before=dunning_facts.paid_in(agreement_id=held.pk),
            grace_days=grace_days,
            reason=reason.strip()[:400],
            created_by_id=actor_id,
        ),
        actor_id=actor_id,
        action="instalments.agree",
    )
    dunning_operations.review(agreement_ids=[held.pk], now=now)
    return row


@transaction.atomic
def cancel_plan(*, plan_id: int, now: datetime, actor_id: int | None) -> InstalmentPlan:
    """End a plan that is running: dunning goes on. Raises PlanNotFound."""
    agreement_id = (
        InstalmentPlan.objects.filter(pk=plan_id, state=PlanState.ACTIVE)
        .values_list("agreement", flat=True)
        .first()
    )
    if agreement_id is None:
        raise PlanNotFound(f"plan {plan_id}")
    ledger_operations.hold([agreement_id])
    row = InstalmentPlan.objects.filter(pk=plan_id, state=PlanState.ACTIVE).first()
    if row is None:
        raise PlanNotFound(f"plan {plan_id}")
    values = {"state": PlanState.CANCELLED, "ended_at": now}
    audit.update(row, values, actor_id=actor_id, action="instalments.cancel", validate=False)
    DunningCase.objects.filter(
        agreement=agreement_id, closed_at__isnull=True, next_at__gt=now
    ).update(next_at=now)
    DunningPolicy.objects.filter(tenant=row.tenant_id).update(next_at=now)
    return row


@transaction.atomic
def set_provider(
    *, tenant_id: int, provider: Provider, secret: str, is_active: bool, actor_id: int | None
) -> PaymentProvider:
    """Take payments by a service: `secret` is what it signs its notices with; empty: as before.

    Raises ValidationError.
    """
    if provider is not Provider.STRIPE:
        raise ValidationError({"provider": [_("Only a payment service signs notices.")]})
    row = (
        PaymentProvider.objects.select_for_update()
        .filter(tenant=tenant_id, provider=provider)
        .first()
    )
    made = row is None
    row = row or PaymentProvider(tenant_id=tenant_id, provider=provider)
    secret = secret.strip()
    if (secret and len(secret) < _LEAST_SECRET) or (made and not secret):
        raise ValidationError(
            {"secret": [_("Enter the signing secret of the webhook, as the service shows it.")]}
        )
    if secret:
        row.seal_secret(secret)
    row.is_active = is_active
    row.save()
    audit.record(
        tenant_id=tenant_id,
        actor_id=actor_id,
        action="payments.provider",
        subject=row,
        after={"provider": provider.value, "active": is_active, "secret_changed": bool(secret)},
    )
    return row


def seal_anew(*, tenant_id: int) -> int:
    """Seal the secrets of a tenant with the key that seals now; returns how many there were."""
    done = 0
    with transaction.atomic():
        for row in PaymentProvider.objects.select_for_update().filter(tenant=tenant_id):
            if not sealing.is_current(row.sealed_secret):
                row.seal_secret(PaymentProvider.open_secret(row.sealed_secret, tenant_id=tenant_id))
                row.save(update_fields=["sealed_secret"])
                done += 1
    return done
