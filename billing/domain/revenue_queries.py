"""Revenue: what was billed by month, kind of line, tariff, cost centre and facility, with its tax;
what is owed and how long; what was supplied and not billed.

Revenue is the sum of the lines of bills that are final or void and of credit notes: what was taken
back and billed anew counts once, by date of issue each on its own day. Rounding is a kind of its
own, so that the kinds come to the net of the bills.

Needs an open scope and sees what it holds: narrowed to facilities, their bills alone, and no names
of tariffs.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Final

from django.db.models import (
    Case,
    Count,
    DecimalField,
    F,
    Min,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Sum,
    TextField,
    Value,
    When,
)
from django.db.models.fields.json import KeyTextTransform, KeyTransform
from django.db.models.functions import Abs, Cast, Coalesce, NullIf, TruncMonth

from billing.domain.calendars import seconds
from billing.domain.revenue_values import (
    NOTHING,
    Asked,
    By,
    Known,
    Month,
    Part,
    Receivables,
    Revenue,
    TaxRate,
    Unbilled,
    UnbilledThen,
)
from billing.models import (
    AccountEntry,
    AgreementTariff,
    Allocation,
    Bill,
    BillKind,
    BillLine,
    BillState,
    Tariff,
    UnbilledAccount,
    UnbilledDay,
)
from billing.tariffs.values import Kind
from devices.models import Facility

# Facilities that are told one by one.
MOST_FACILITIES: Final = 50
_MONEY: Final = DecimalField(max_digits=28, decimal_places=12)
_STEP_S: Final = 900
# Of so many days it is told what unbilled energy came to.
DAYS: Final = 90
# How long open items are due: code, the first day over due, the last one.
AGES: Final = (
    ("current", None, 0),
    ("days_1_30", 1, 30),
    ("days_31_60", 31, 60),
    ("days_61_90", 61, 90),
    ("over_90", 91, None),
)


def centre_of(bill: str = "") -> Coalesce:
    """The cost centre of a bill as it names it, else that of its agreement. `bill` is the way to
    the bill, ending with two underscores.
    """
    named = KeyTextTransform("cost_centre", KeyTransform("supply", f"{bill}parties"))
    return Coalesce(
        NullIf(named, Value(""), output_field=TextField()),
        F(f"{bill}agreement__cost_centre"),
        output_field=TextField(),
    )


def revenue(asked: Asked, *, on: date) -> Revenue:
    """What was billed, and what is owed and unbilled on a day; fourteen queries.

    Open items and unbilled energy are those of the cost centre asked for, whatever the tariff.
    """
    lines = booked(asked)
    facilities, others = _facilities(lines)
    return Revenue(
        asked=asked,
        months=_months(lines),
        tariffs=_tariffs(lines),
        cost_centres=_centres(lines),
        facilities=facilities,
        others=others,
        taxes=_taxes(lines),
        known=_known(lines),
        receivables=receivables(on=on, currency=asked.currency, cost_centre=asked.cost_centre),
        unbilled=unbilled(currency=asked.currency, cost_centre=asked.cost_centre),
        unbilled_days=unbilled_days(currency=asked.currency, on=on),
    )


def booked(asked: Asked) -> QuerySet[Any]:
    """The lines that count, with `day`, `centre` and `tariff_id`: the tariff that is agreed on for
    the first day of the line.
    """
    held = AgreementTariff.objects.filter(
        Q(ends_on__isnull=True) | Q(ends_on__gt=OuterRef("first_on")),
        agreement=OuterRef("bill__agreement_id"),
        starts_on__lte=OuterRef("first_on"),
    )
    rows = (
        BillLine.objects.order_by()
        .filter(bill__currency=asked.currency)
        .exclude(bill__state=BillState.DRAFT)
        .annotate(
            day=F("bill__issued_on") if asked.by is By.ISSUE else F("first_on"),
            centre=centre_of("bill__"),
            tariff_id=Subquery(held.values("tariff_id")[:1]),
        )
        .filter(day__gte=asked.first, day__lt=asked.end)
    )
    if asked.cost_centre is not None:
        rows = rows.filter(centre=asked.cost_centre)
    if asked.tariff_id is not None:
        rows = rows.filter(tariff_id=asked.tariff_id)
    return rows


def _net(lines: QuerySet[Any]) -> QuerySet[Any]:
    return lines.exclude(kind=Kind.TAX)


def _months(lines: QuerySet[Any]) -> tuple[Month, ...]:
    found: dict[date, dict[str, Decimal]] = defaultdict(dict)
    rows = lines.values(month=TruncMonth("day")).values_list("month", "kind")
    for month, kind, amount in rows.annotate(sum=Sum("amount")).order_by("month", "kind"):
        found[month][kind] = amount
    return tuple(
        Month(month, {kind: one for kind, one in kinds.items() if kind != Kind.TAX},
              kinds.get(Kind.TAX, NOTHING))
        for month, kinds in found.items()
    )  # fmt: skip


def _tariffs(lines: QuerySet[Any]) -> tuple[Part, ...]:
    sums = dict(_net(lines).values_list("tariff_id").annotate(sum=Sum("amount")))
    names = dict(Tariff.objects.filter(pk__in=[pk for pk in sums if pk]).values_list("pk", "name"))
    return _parts(Part(pk, names.get(pk, ""), amount) for pk, amount in sums.items())


def _centres(lines: QuerySet[Any]) -> tuple[Part, ...]:
    sums = _net(lines).values_list("centre").annotate(sum=Sum("amount"))
    return _parts(Part(None, name, amount) for name, amount in sums)


def _facilities(lines: QuerySet[Any]) -> tuple[tuple[Part, ...], Decimal]:
    rows = _net(lines).values_list("facility_id").annotate(sum=Sum("amount"))
    most = list(rows.order_by("-sum", "facility_id")[:MOST_FACILITIES])
    names = dict(Facility.objects.filter(pk__in=[pk for pk, _ in most]).values_list("pk", "name"))
    told = tuple(Part(pk, names.get(pk, ""), amount) for pk, amount in most)
    others = NOTHING
    if len(most) == MOST_FACILITIES:
        total = _net(lines).aggregate(sum=Sum("amount"))["sum"] or NOTHING
        others = total - sum((one.net for one in told), NOTHING)
    return told, others


def _parts(parts: Any) -> tuple[Part, ...]:
    return tuple(sorted(parts, key=lambda one: (-one.net, one.name, one.key or 0)))


def _taxes(lines: QuerySet[Any]) -> tuple[TaxRate, ...]:
    """A credit note repeats what was taxed as the bill has it, and turns rate and tax."""
    base = Cast(KeyTextTransform("base", "detail"), _MONEY)
    turned = Case(When(bill__kind=BillKind.CREDIT_NOTE, then=-base), default=base)
    rows = (
        lines.filter(kind=Kind.TAX)
        .values(percent=Abs("quantity"))
        .annotate(base=Sum(turned, output_field=_MONEY), tax=Sum("amount"))
        .order_by("percent")
    )
    return tuple(
        TaxRate(row["percent"], row["base"] or NOTHING, row["tax"] or NOTHING) for row in rows
    )


def _known(lines: QuerySet[Any]) -> Known:
    """Of the bills that hold today, void ones not."""
    bills = (
        Bill.objects.order_by()
        .filter(pk__in=lines.values("bill_id"), kind=BillKind.INVOICE, state=BillState.FINAL)
        .values_list("first_on", "end_on", "zone")
        .annotate(
            Count("pk"), Sum("imported_kwh"), Sum("exported_kwh"), Sum("estimated_kwh"),
            Sum("missing_intervals"),
        )
    )  # fmt: skip
    kwh, estimated, intervals, missing = NOTHING, NOTHING, 0, 0
    for first, end, zone, count, drawn, given, not_measured, gone in bills:
        kwh += drawn + given
        estimated += not_measured
        intervals += count * (seconds(end, zone) - seconds(first, zone)) // _STEP_S
        missing += gone
    return Known(kwh, estimated, intervals, missing)


# --- what is open ------------------------------------------------------------------------


def receivables(*, on: date, currency: str, cost_centre: str | None = None) -> Receivables:
    """What is owed on a day by its age, in three queries for any number of accounts: entries less
    what was allocated to them. What is due on a day is over due from the next one on.
    """
    where: dict[str, Any] = {} if cost_centre is None else {"agreement__cost_centre": cost_centre}
    entries = AccountEntry.objects.filter(currency=currency, **where)
    settled = Allocation.objects.filter(debit__currency=currency, **where)
    owed = entries.aggregate(
        **{
            code: Sum("amount", filter=Q(amount__gt=0) & _age("due_on", on, *limits))
            for code, *limits in AGES
        },
        credit=Sum("amount", filter=Q(amount__lt=0)),
    )
    paid = settled.aggregate(
        **{code: Sum("amount", filter=_age("debit__due_on", on, *limits)) for code, *limits in AGES}
    )
    since = on - timedelta(days=Receivables.DAYS)
    bills = Bill.objects.filter(currency=currency, issued_on__gt=since, issued_on__lte=on, **where)
    billed = bills.exclude(state=BillState.DRAFT).aggregate(sum=Sum("total"))["sum"]
    ages = {code: (owed[code] or NOTHING) - (paid[code] or NOTHING) for code, *_ in AGES}
    return Receivables(
        on=on,
        ages=ages,
        credit=-(owed["credit"] or NOTHING)
        - sum((one or NOTHING for one in paid.values()), NOTHING),
        billed=billed or NOTHING,
    )


def _age(field: str, on: date, least: int | None, most: int | None) -> Q:
    """Due for `least` to `most` days on a day."""
    found = Q()
    if least is not None:
        found &= Q(**{f"{field}__lte": on - timedelta(days=least)})
    if most is not None:
        found &= Q(**{f"{field}__gte": on - timedelta(days=most)})
    return found


def unbilled(*, currency: str, cost_centre: str | None = None) -> Unbilled:
    """What was supplied and not billed, as it was valued last; one query."""
    rows = UnbilledAccount.objects.filter(currency=currency)
    if cost_centre is not None:
        rows = rows.filter(agreement__cost_centre=cost_centre)
    found = rows.aggregate(
        accounts=Count("pk", filter=Q(first_on__isnull=False)),
        problems=Count("pk", filter=~Q(problem="")),
        imported_kwh=Coalesce(Sum("imported_kwh"), NOTHING, output_field=_MONEY),
        exported_kwh=Coalesce(Sum("exported_kwh"), NOTHING, output_field=_MONEY),
        estimated_kwh=Coalesce(Sum("estimated_kwh"), NOTHING, output_field=_MONEY),
        net=Coalesce(Sum("net"), NOTHING, output_field=_MONEY),
        oldest_on=Min("first_on"),
        valued=Min("computed_at", filter=Q(first_on__isnull=False)),
    )
    valued = found.pop("valued")
    return Unbilled(**found, valued_on=None if valued is None else valued.date())


def unbilled_days(*, currency: str, on: date) -> tuple[UnbilledThen, ...]:
    """What it came to on each day of the last DAYS; one query."""
    rows = UnbilledDay.objects.filter(
        currency=currency, on__gt=on - timedelta(days=DAYS), on__lte=on
    )
    sums = rows.order_by("on").values_list("on").annotate(Sum("imported_kwh"), Sum("net"))
    return tuple(UnbilledThen(*one) for one in sums)
