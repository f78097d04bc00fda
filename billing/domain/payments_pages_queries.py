"""What the pages of payments and of open items show.

They need an open scope. One narrowed to facilities sees no payments, files and services, for these
concern the tenant as a whole; open items it sees of its facilities.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Final

from django.db.models import Count, OuterRef, Q, QuerySet, Subquery, Sum

from billing.domain.ledger_queries import open_rows
from billing.domain.pages_queries import NotThere
from billing.models import (
    AccountEntry,
    Agreement,
    Allocation,
    Customer,
    Payment,
    PaymentImport,
    PaymentProvider,
    Provider,
)

NEWEST: Final = 10
# How many days late: from, up to. The first has all that is not due yet.
AGES: Final = ((None, 0), (1, 30), (31, 60), (61, 90), (91, None))


def payments() -> QuerySet[Payment]:
    """Payments with `customer_name` and `agreement_number`."""
    customer = Customer.objects.filter(agreements=OuterRef("agreement")).values("name")[:1]
    number = Agreement.objects.filter(pk=OuterRef("agreement_id")).values("number")[:1]
    return Payment.objects.annotate(
        customer_name=Subquery(customer), agreement_number=Subquery(number)
    )


@dataclass(frozen=True, slots=True)
class Settled:
    """What a payment has settled: a bill or a fee, and so much of it."""

    name: str
    kind: str
    bill_id: int | None
    amount: Decimal


@dataclass(frozen=True, slots=True)
class PaymentPage:
    """A payment, what it has settled, and what of it was given back."""

    payment: Payment
    settled: tuple[Settled, ...]
    refunds: tuple[Payment, ...]
    left: Decimal


def payment_page(*, payment_id: int) -> PaymentPage:
    """One payment; three queries. Raises NotThere."""
    found = payments().select_related("refunds").filter(pk=payment_id).first()
    if found is None:
        raise NotThere
    refunds = tuple(Payment.objects.filter(refunds=found).order_by("pk"))
    rows = (
        Allocation.objects.filter(credit__payment=found)
        .values("debit__text", "debit__kind", "debit__bill", "debit__bill__number")
        .annotate(total=Sum("amount"))
        .order_by("debit")
    )
    settled = tuple(
        Settled(
            row["debit__bill__number"] or row["debit__text"],
            row["debit__kind"],
            row["debit__bill"],
            row["total"],
        )
        for row in rows
        if row["total"]
    )
    left = found.amount + sum((one.amount for one in refunds), Decimal(0))
    return PaymentPage(found, settled, refunds, left)


def imports() -> QuerySet[PaymentImport]:
    """Files of payments that were taken in."""
    return PaymentImport.objects.select_related("created_by").defer("content")


@dataclass(frozen=True, slots=True)
class ProviderPage:
    """A payment service, if the tenant takes payments by it, and the last that it told of."""

    row: PaymentProvider | None
    last: tuple[Payment, ...]


def provider_page(*, tenant_id: int, provider: Provider) -> ProviderPage:
    """One service; two queries."""
    row = PaymentProvider.objects.filter(tenant=tenant_id, provider=provider).first()
    told = payments().filter(tenant=tenant_id, provider=provider).order_by("-pk")
    return ProviderPage(row, tuple(told[:NEWEST]))


# --- open items --------------------------------------------------------------------------


def open_entries() -> QuerySet[Any]:
    """What is owed, entry by entry, with `open`, `bill_number` and `customer_name`."""
    customer = Customer.objects.filter(pk=OuterRef("agreement__customer_id")).values("name")[:1]
    return (
        open_rows()
        .filter(open__gt=Decimal(0))
        .select_related("agreement", "facility", "bill")
        .annotate(customer_name=Subquery(customer))
    )


def aged(rows: QuerySet[Any], age: int, *, on: date) -> QuerySet[Any]:
    """Those of an age, by its place in `AGES`."""
    return rows.filter(_late(age, on))


def _late(age: int, on: date) -> Q:
    least, most = AGES[age]
    wanted = Q()
    if least is not None:
        wanted &= Q(due_on__lte=on - timedelta(days=least))
    if most is not None:
        wanted &= Q(due_on__gte=on - timedelta(days=most))
    return wanted


@dataclass(frozen=True, slots=True)
class AgeSums:
    """What is owed in a currency, by age (as `AGES`), and how many entries each has."""

    currency: str
    amounts: tuple[Decimal, ...]
    counts: tuple[int, ...]

    @property
    def total(self) -> Decimal:
        """All of it."""
        return sum(self.amounts, Decimal(0))


def age_sums(*, on: date) -> tuple[AgeSums, ...]:
    """What is owed by currency and age; one query."""
    ages = range(len(AGES))
    amounts = {f"amount_{n}": Sum("open", filter=_late(n, on)) for n in ages}
    counts = {f"count_{n}": Count("pk", filter=_late(n, on)) for n in ages}
    rows: Any = open_rows().filter(open__gt=Decimal(0)).order_by().values("currency")
    rows = rows.annotate(**amounts, **counts).order_by("currency")
    return tuple(
        AgeSums(
            row["currency"],
            tuple(row[f"amount_{n}"] or Decimal(0) for n in ages),
            tuple(row[f"count_{n}"] for n in ages),
        )
        for row in rows
    )


@dataclass(frozen=True, slots=True)
class OpenList:
    """What is owed, and its sums by age."""

    rows: QuerySet[Any]
    sums: tuple[AgeSums, ...]


def open_list(*, on: date) -> OpenList:
    """The page of open items."""
    return OpenList(open_entries(), age_sums(on=on))


@dataclass(frozen=True, slots=True)
class OpenEntry:
    """An entry, what is open of it, and the number of its bill."""

    entry: AccountEntry
    open: Decimal
    bill_number: str


def open_entry(*, entry_id: int) -> OpenEntry:
    """An entry of which something is owed; raises NotThere."""
    found = open_entries().filter(pk=entry_id).first()
    if found is None:
        raise NotThere
    return OpenEntry(found, found.open, found.bill.number if found.bill else "")
