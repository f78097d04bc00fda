"""What dunning has done and will do, and what it writes. Needs an open scope."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from django.db.models import Prefetch, QuerySet

from billing.accounts.dunning import Policy, StepKind
from billing.domain import dunning_facts
from billing.domain.ledger_queries import open_items, told_customer
from billing.models import (
    BillingSettings,
    DunningCase,
    DunningEvent,
    DunningKind,
    DunningPolicy,
    EntryKind,
)


@dataclass(frozen=True, slots=True)
class OwedLine:
    """What is owed: the number of a bill, or what a fee is for."""

    name: str
    due_on: date
    open: Decimal


@dataclass(frozen=True, slots=True)
class Letter:
    """A notice to a customer, with all that it says. `next_kind` and `next_on`: the next step, if
    nothing is paid. Amounts are in `currency`.
    """

    event_id: int
    kind: DunningKind
    to: str
    language: str
    customer: str
    company: str
    iban: str
    bic: str
    agreement: str
    facility: str
    currency: str
    overdue: Decimal
    fee: Decimal
    lines: tuple[OwedLine, ...]
    limit_w: int
    next_kind: StepKind | None
    next_on: date | None


def case_rows() -> QuerySet[DunningCase]:
    """Cases for a list, the newest first, with what its rows show."""
    events = DunningEvent.objects.order_by("pk")
    return DunningCase.objects.select_related("agreement__customer", "facility").prefetch_related(
        Prefetch("events", queryset=events)
    )


def open_case(*, agreement_id: int) -> DunningCase | None:
    """The case of an agreement that is behind, if it is."""
    return case_rows().filter(agreement=agreement_id, closed_at__isnull=True).first()


def to_mail() -> list[tuple[int, int]]:
    """Tenant and id of the events that customers are still to be told of, the oldest first."""
    rows = DunningEvent.objects.filter(mailed_at__isnull=True).exclude(mail_to="")
    return list(rows.order_by("pk").values_list("tenant_id", "pk")[:500])


def letter_of(*, event_id: int) -> Letter | None:
    """What a customer is told of an event by mail, if anything."""
    event = (
        DunningEvent.objects.select_related(
            "agreement__customer", "facility", "fee", "case", "tenant"
        )
        .filter(pk=event_id)
        .exclude(mail_to="")
        .first()
    )
    if event is None:
        return None
    agreement, customer = event.agreement, event.agreement.customer
    seller = BillingSettings.objects.filter(tenant=event.tenant_id).first()
    row = DunningPolicy.objects.filter(tenant=event.tenant_id).first()
    policy = dunning_facts.policy_of(row, year=event.at.year)
    kind, on = _next(event, policy)
    return Letter(
        event_id=event.pk,
        kind=DunningKind(event.kind),
        to=event.mail_to,
        language=customer.language,
        customer=customer.name,
        company=seller.legal_name if seller else event.tenant.name,
        iban=seller.iban if seller else "",
        bic=seller.bic if seller else "",
        agreement=agreement.number,
        facility=event.facility.name,
        currency=event.currency,
        overdue=event.overdue,
        fee=event.fee.amount if event.fee else Decimal(0),
        lines=_owed(event),
        limit_w=_limit(event, policy),
        next_kind=kind,
        next_on=on,
    )


def _owed(event: DunningEvent) -> tuple[OwedLine, ...]:
    items = open_items(agreement_ids=[event.agreement_id])[event.agreement_id]
    return tuple(
        OwedLine(
            item.bill_number
            or told_customer(item.kind, item.text)
            or str(EntryKind(item.kind).label),
            item.due_on,
            item.open,
        )
        for item in items
        if item.open > 0
    )


def _limit(event: DunningEvent, policy: Policy | None) -> int:
    if policy is None or event.step is None or event.step > len(policy.steps):
        return 0
    return policy.steps[event.step - 1].limit_w


def _next(event: DunningEvent, policy: Policy | None) -> tuple[StepKind | None, date | None]:
    """The step after this one, and its day."""
    if policy is None or event.step is None or event.step >= len(policy.steps):
        return None, None
    step, here = policy.steps[event.step], policy.steps[event.step - 1]
    day = event.at.date() + timedelta(days=step.after_days - here.after_days)
    due = max(day, event.case.counts_from + timedelta(days=step.after_days))
    return step.kind, policy.quiet.next_day(due)
