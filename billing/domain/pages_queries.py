"""Reads of the pages of billing: lists as query sets, single rows with what stands beside them.

They need an open scope. A scope narrowed to facilities sees agreements and bills of these, but no
customers, tariffs and runs: what a page tells of them is then empty. With `user_id` only that
person's own bills and agreements are seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, Final

from django.db.models import Count, F, OuterRef, Q, QuerySet, Subquery, Sum
from django.db.models.functions import Coalesce

from billing.domain.ledger_queries import open_rows
from billing.domain.ledger_timeline import TimelineItem, timeline
from billing.models import (
    AccountEntry,
    Agreement,
    AgreementMeter,
    AgreementTariff,
    Bill,
    BillDelivery,
    BillLine,
    BillRun,
    BillRunItem,
    BillState,
    Customer,
    ItemState,
    Restatement,
    Tariff,
    TariffVersion,
    VersionState,
)

# What a page shows of a long account; the lists have all of it.
NEWEST: Final = 24


class NotThere(Exception):  # noqa: N818 - it reads as what happened
    """The row does not exist, or is not the reader's to see."""


def _customer(field: str, of: str) -> Subquery:
    """Something of a customer, empty for whoever does not see customers."""
    return Subquery(Customer.objects.filter(pk=OuterRef(of)).values(field)[:1])


# --- bills -------------------------------------------------------------------------------


def bills(*, user_id: int | None = None) -> QuerySet[Bill]:
    """Bills with `customer_name`."""
    rows = Bill.objects.select_related("agreement", "facility").annotate(
        customer_name=_customer("name", "agreement__customer_id")
    )
    return rows if user_id is None else rows.filter(user_id=user_id).exclude(state=BillState.DRAFT)


@dataclass(frozen=True, slots=True)
class BillPage:
    """A bill with its lines, other bills of the same days (those that take it back, and the rest),
    and to whom it went. `open` is what has not been settled of its total: nothing of a draft.
    """

    bill: Bill
    lines: tuple[BillLine, ...]
    corrections: tuple[Bill, ...]
    siblings: tuple[Bill, ...]
    deliveries: tuple[BillDelivery, ...]
    open: Decimal


def bill_page(*, bill_id: int, user_id: int | None = None) -> BillPage:
    """One bill; four queries. Raises NotThere."""
    rows = bills(user_id=user_id).select_related("corrects", "run", "agreement", "facility")
    still_open = open_rows().filter(bill=OuterRef("pk")).order_by().values("open")[:1]
    found = rows.annotate(open=Subquery(still_open)).filter(pk=bill_id).first()
    if found is None:
        raise NotThere
    same = bills(user_id=user_id).filter(
        agreement_id=found.agreement_id, first_on__lt=found.end_on, end_on__gt=found.first_on
    )
    others = tuple(same.exclude(pk=found.pk).order_by("revision", "kind", "pk"))
    return BillPage(
        bill=found,
        lines=tuple(found.lines.order_by("position")),
        corrections=tuple(one for one in others if one.corrects_id == found.pk),
        siblings=tuple(one for one in others if one.corrects_id != found.pk),
        deliveries=tuple(BillDelivery.objects.filter(bill=found).order_by("pk")),
        open=found.open or Decimal(0),
    )


# --- customers and agreements ------------------------------------------------------------


def customers() -> QuerySet[Customer]:
    """Customers with how many agreements they have."""
    return Customer.objects.annotate(agreement_count=Count("agreements"))


@dataclass(frozen=True, slots=True)
class CustomerPage:
    """A customer with its agreements."""

    customer: Customer
    agreements: tuple[Agreement, ...]


def customer_page(*, customer_id: int) -> CustomerPage:
    """One customer; two queries. Raises NotThere."""
    found = Customer.objects.select_related("user").filter(pk=customer_id).first()
    if found is None:
        raise NotThere
    return CustomerPage(found, tuple(agreements().filter(customer_id=customer_id)))


def agreements(*, user_id: int | None = None) -> QuerySet[Agreement]:
    """Agreements with `customer_name`, `customer_number` and `balance`: what was billed less what
    came in.
    """
    balance = (
        AccountEntry.objects.filter(agreement=OuterRef("pk"))
        .order_by()
        .values("agreement")
        .annotate(sum=Sum("amount"))
        .values("sum")
    )
    rows = Agreement.objects.select_related("facility").annotate(
        customer_name=_customer("name", "customer_id"),
        customer_number=_customer("number", "customer_id"),
        balance=Subquery(balance),
    )
    return rows if user_id is None else rows.filter(user_id=user_id)


@dataclass(frozen=True, slots=True)
class AgreementPage:
    """An agreement with what it is billed by, its newest bills, and what happened to its account.

    `tariff_names` by the id of the tariff; none for whoever does not see tariffs.
    """

    agreement: Agreement
    meters: tuple[AgreementMeter, ...]
    tariffs: tuple[AgreementTariff, ...]
    tariff_names: dict[int, str]
    bills: tuple[Bill, ...]
    events: tuple[TimelineItem, ...]


def agreement_page(*, agreement_id: int, user_id: int | None = None) -> AgreementPage:
    """One agreement; ten queries. Raises NotThere."""
    found = agreements(user_id=user_id).filter(pk=agreement_id).first()
    if found is None:
        raise NotThere
    terms = tuple(AgreementTariff.objects.filter(agreement=found).order_by("starts_on"))
    names = Tariff.objects.filter(pk__in=[one.tariff_id for one in terms])
    meters = AgreementMeter.objects.filter(agreement=found).select_related("channel__device")
    billed = bills(user_id=user_id).filter(agreement=found)
    return AgreementPage(
        agreement=found,
        meters=tuple(meters.order_by("starts_at", "pk")),
        tariffs=terms,
        tariff_names=dict(names.values_list("pk", "name")),
        bills=tuple(billed.order_by("-first_on", "-revision", "kind")[:NEWEST]),
        events=timeline(agreement_id=agreement_id, most=NEWEST),
    )


# --- tariffs -----------------------------------------------------------------------------


def tariffs(*, today: date) -> QuerySet[Tariff]:
    """Tariffs with when the version in force began, whether one waits as a draft, and by how many
    agreements they are used today.
    """
    in_force = (
        TariffVersion.objects.filter(
            tariff=OuterRef("pk"), state=VersionState.PUBLISHED, valid_from__lte=today
        )
        .order_by("-valid_from", "-revision")
        .values("valid_from")[:1]
    )
    used = (
        AgreementTariff.objects.filter(tariff=OuterRef("pk"), starts_on__lte=today)
        .filter(Q(ends_on__isnull=True) | Q(ends_on__gt=today))
        .order_by()
        .values("tariff")
        .annotate(count=Count("agreement", distinct=True))
        .values("count")
    )
    return Tariff.objects.annotate(
        in_force_from=Subquery(in_force),
        draft_count=Count("versions", filter=Q(versions__state=VersionState.DRAFT)),
        version_count=Count("versions", filter=Q(versions__state=VersionState.PUBLISHED)),
        agreement_count=Coalesce(Subquery(used), 0),
    )


@dataclass(frozen=True, slots=True)
class TariffPage:
    """A tariff with its versions by date; `in_force` is the one that holds today."""

    tariff: Tariff
    versions: tuple[TariffVersion, ...]
    in_force: TariffVersion | None
    agreement_count: int


def tariff_page(*, tariff_id: int, today: date) -> TariffPage:
    """One tariff; two queries. Raises NotThere."""
    found: Any = tariffs(today=today).filter(pk=tariff_id).first()
    if found is None:
        raise NotThere
    versions = tuple(
        TariffVersion.objects.filter(tariff=found)
        .select_related("created_by", "published_by")
        .order_by("valid_from", "revision")
    )
    return TariffPage(found, versions, holding(versions, today), found.agreement_count)


def holding(versions: Sequence[TariffVersion], day: date) -> TariffVersion | None:
    """Of versions by date and revision the published one that holds on a day."""
    held = [
        one for one in versions if one.state == VersionState.PUBLISHED and one.valid_from <= day
    ]
    return held[-1] if held else None


def version(*, version_id: int) -> TariffVersion:
    """One version with its tariff. Raises NotThere."""
    rows = TariffVersion.objects.select_related("tariff", "created_by", "published_by")
    found = rows.filter(pk=version_id).first()
    if found is None:
        raise NotThere
    return found


# --- runs --------------------------------------------------------------------------------


def runs() -> QuerySet[BillRun]:
    """Runs with how many of their items are in which state."""
    return BillRun.objects.select_related("asked_by", "approved_by").annotate(
        item_count=Count("items"),
        done_count=Count("items", filter=~Q(items__state=ItemState.WAITING)),
        held_count=Count("items", filter=Q(items__state=ItemState.HELD)),
        failed_count=Count("items", filter=Q(items__state=ItemState.FAILED)),
    )


def run(*, run_id: int) -> BillRun:
    """One run. Raises NotThere."""
    found = BillRun.objects.filter(pk=run_id).first()
    if found is None:
        raise NotThere
    return found


@dataclass(frozen=True, slots=True)
class RunSum:
    """What the bills of a run come to in a currency."""

    currency: str
    bills: int
    net: Any
    tax: Any
    total: Any
    kwh: Any
    estimated_kwh: Any


@dataclass(frozen=True, slots=True)
class RunPage:
    """A run: how many items are in which state, how often the checklist asks what, and what its
    bills come to.
    """

    run: BillRun
    states: dict[str, int]
    findings: dict[str, int]
    sums: tuple[RunSum, ...]


def run_page(*, run_id: int) -> RunPage:
    """One run; four queries. Raises NotThere."""
    found = runs().filter(pk=run_id).first()
    if found is None:
        raise NotThere
    items = BillRunItem.objects.filter(run=found).order_by()
    findings: dict[str, int] = {}
    for listed in items.exclude(findings=[]).values_list("findings", flat=True).iterator():
        for one in listed:
            findings[one["code"]] = findings.get(one["code"], 0) + 1
    sums = (
        Bill.objects.filter(run=found)
        .order_by("currency")
        .values_list("currency")
        .annotate(
            Count("pk"), Sum("net"), Sum("tax"), Sum("total"), Sum("imported_kwh"),
            Sum("estimated_kwh"),
        )
    )  # fmt: skip
    return RunPage(
        run=found,
        states=dict(items.values_list("state").annotate(Count("pk"))),
        findings=findings,
        sums=tuple(RunSum(*one) for one in sums),
    )


def run_items(*, run_id: int) -> QuerySet[BillRunItem]:
    """The accounts of a run with the bill that was made for each (`bill_pk`, `bill_total`,
    `bill_currency`, `bill_kwh`), and whose they are.
    """
    made = Bill.objects.filter(run=OuterRef("run"), agreement=OuterRef("agreement")).order_by(
        "-kind", "-pk"
    )
    return (
        BillRunItem.objects.filter(run_id=run_id)
        .select_related("agreement", "facility", "accepted_by")
        .annotate(
            number=F("agreement__number"),
            customer_name=_customer("name", "agreement__customer_id"),
            bill_pk=Subquery(made.values("pk")[:1]),
            bill_total=Subquery(made.values("total")[:1]),
            bill_currency=Subquery(made.values("currency")[:1]),
            bill_kwh=Subquery(made.values("imported_kwh")[:1]),
        )
    )


# --- restatements ------------------------------------------------------------------------


def restatements() -> QuerySet[Restatement]:
    """Final bills that may not be right any more, with what was found; `number` of the bill,
    `customer_name`.
    """
    return Restatement.objects.select_related(
        "bill", "facility", "new_bill", "credit_note"
    ).annotate(
        number=F("bill__number"),
        agreement_number=F("bill__agreement__number"),
        customer_name=_customer("name", "bill__agreement__customer_id"),
    )


def restatement(*, restatement_id: int) -> Restatement:
    """One of them. Raises NotThere."""
    found = restatements().filter(pk=restatement_id).first()
    if found is None:
        raise NotThere
    return found
