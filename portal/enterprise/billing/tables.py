"""Lists of bills, agreements, customers, tariffs and runs."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

import django_filters
import django_tables2 as columns
from django import forms
from django.db.models import Q, QuerySet
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext_lazy

from billing.models import Agreement, Bill, BillKind, BillState, Cycle, Mode, RunState
from portal.enterprise.billing import words
from portal.enterprise.registry.tables import ROOMY
from portal.frame import quantities
from portal.frame.filters import PortalFilterSet
from portal.frame.tables import BadgeColumn, NumberColumn, PortalTable

_RIGHT = {"th": {"class": "wl-right"}, "td": {"class": "wl-right wl-number"}}
_ROOMY_RIGHT = {
    "th": {"class": "wl-right wl-roomy"},
    "td": {"class": "wl-right wl-number wl-roomy"},
}
DATE = "SHORT_DATE_FORMAT"


def link(name: str, key: int, text: str) -> str:
    """The way to a page of its own."""
    return format_html('<a href="{}">{}</a>', reverse(name, args=[key]), text)


class MoneyColumn(columns.Column):
    """An amount in the currency that the row has at `currency`; the export has the number alone."""

    def __init__(self, *args: Any, currency: str = "currency", **kwargs: Any) -> None:
        kwargs.setdefault("attrs", _RIGHT)
        super().__init__(*args, **kwargs)
        self._currency = columns.A(currency)

    def render(self, value: Decimal, record: Any) -> str:
        """The amount for people."""
        return quantities.money(value, self._currency.resolve(record))

    def value(self, **kwargs: Any) -> str:
        """For programs."""
        return f"{kwargs['value']:f}"


class OwedColumn(MoneyColumn):
    """What an account owes, or its credit; the export has the number, below zero for credit."""

    def render(self, value: Decimal, record: Any) -> str:
        """The amount for people."""
        return words.owed(value, self._currency.resolve(record))


class BillTable(PortalTable):
    """Bills and credit notes."""

    empty_icon = "receipt"
    empty_title = gettext_lazy("No bills")
    empty_body = gettext_lazy("A bill run makes the bills of a month for all agreements.")

    number = columns.Column(verbose_name=gettext_lazy("Number"), empty_values=())
    customer_name = columns.Column(verbose_name=gettext_lazy("Customer"), empty_values=(None,))
    facility = columns.Column(
        accessor="facility__name", verbose_name=gettext_lazy("Facility"), attrs=ROOMY
    )
    first_on = columns.Column(verbose_name=gettext_lazy("For"))
    state = BadgeColumn(
        verbose_name=gettext_lazy("State"), labels=words.BILL_STATES, tones=words.BILL_TONES
    )
    total = MoneyColumn(verbose_name=gettext_lazy("Total"))
    currency = columns.Column(verbose_name=gettext_lazy("Currency"), visible=False)
    imported_kwh = NumberColumn(verbose_name="kWh", attrs=ROOMY)
    due_on = columns.DateColumn(verbose_name=gettext_lazy("Due"), format=DATE, attrs=ROOMY)

    class Meta:
        order_by = ("-first_on", "number")

    def render_number(self, record: Bill) -> str:
        """The way to the bill, and what it is where it is no ordinary one."""
        kind = words.BILL_KINDS[record.kind] if record.kind == BillKind.CREDIT_NOTE else ""
        return format_html(
            '<a href="{}">{}</a><small>{}</small>',
            reverse("bill", args=[record.pk]),
            record.number or _("Draft"),
            kind,
        )

    def value_number(self, record: Bill) -> str:
        """The number alone."""
        return record.number

    def render_first_on(self, record: Bill) -> str:
        """Its days."""
        return words.days(record.first_on, record.end_on)

    def value_first_on(self, record: Bill) -> str:
        """The first day."""
        return record.first_on.isoformat()


class BillFilter(PortalFilterSet):
    """By words, state, kind and month."""

    search_fields = ("number", "customer_name", "facility__name", "agreement__number")

    state = django_filters.ChoiceFilter(
        label=gettext_lazy("State"), choices=BillState.choices, empty_label=gettext_lazy("All")
    )
    kind = django_filters.ChoiceFilter(
        label=gettext_lazy("Kind"), choices=BillKind.choices, empty_label=gettext_lazy("All")
    )
    month = django_filters.DateFilter(
        label=gettext_lazy("Month"),
        method="of_month",
        input_formats=["%Y-%m"],
        widget=forms.DateInput(attrs={"type": "month"}, format="%Y-%m"),
    )
    estimated = django_filters.ChoiceFilter(
        label=gettext_lazy("Readings"),
        method="by_estimate",
        choices=[
            ("no", gettext_lazy("All measured")),
            ("yes", gettext_lazy("Partly estimated or missing")),
        ],
        empty_label=gettext_lazy("All"),
    )

    def of_month(self, rows: QuerySet[Bill], name: str, value: date) -> QuerySet[Bill]:
        """Bills with a day in the month."""
        del name
        following = date(value.year + value.month // 12, value.month % 12 + 1, 1)
        return rows.filter(first_on__lt=following, end_on__gt=value)

    def by_estimate(self, rows: QuerySet[Bill], name: str, value: str) -> QuerySet[Bill]:
        """By whether all was measured."""
        del name
        guessed = Q(estimated_kwh__gt=0) | Q(missing_intervals__gt=0)
        return rows.filter(guessed) if value == "yes" else rows.exclude(guessed)


class AgreementTable(PortalTable):
    """Agreements and how their accounts stand."""

    empty_icon = "file-text"
    empty_title = gettext_lazy("No agreements")
    empty_body = gettext_lazy(
        "An agreement says who is billed for a facility, by which meters and which tariff."
    )

    number = columns.Column(verbose_name=gettext_lazy("Number"))
    customer_name = columns.Column(verbose_name=gettext_lazy("Customer"))
    facility = columns.Column(accessor="facility__name", verbose_name=gettext_lazy("Facility"))
    mode = columns.Column(verbose_name=gettext_lazy("Paid"), attrs=ROOMY)
    cycle = columns.Column(verbose_name=gettext_lazy("Billed"), attrs=ROOMY)
    cost_centre = columns.Column(verbose_name=gettext_lazy("Cost centre"), attrs=ROOMY)
    starts_on = columns.DateColumn(verbose_name=gettext_lazy("From"), format=DATE)
    ends_on = columns.DateColumn(verbose_name=gettext_lazy("Until"), format=DATE, attrs=ROOMY)
    balance = OwedColumn(verbose_name=gettext_lazy("Owes"))

    class Meta:
        order_by = ("number",)

    def render_number(self, value: str, record: Agreement) -> str:
        """The way to its page."""
        return link("agreement", record.pk, value)

    def value_number(self, value: str) -> str:
        """The number alone."""
        return value


class AgreementFilter(PortalFilterSet):
    """By words, mode, cycle, and whether they hold today."""

    search_fields = ("number", "customer_name", "customer_number", "facility__name", "cost_centre")

    mode = django_filters.ChoiceFilter(
        label=gettext_lazy("Paid"), choices=Mode.choices, empty_label=gettext_lazy("All")
    )
    cycle = django_filters.ChoiceFilter(
        label=gettext_lazy("Billed"), choices=Cycle.choices, empty_label=gettext_lazy("All")
    )
    owing = django_filters.ChoiceFilter(
        label=gettext_lazy("Account"),
        method="by_balance",
        choices=[
            ("owes", gettext_lazy("Owes")),
            ("even", gettext_lazy("Is even")),
            ("credit", gettext_lazy("Has credit")),
        ],
        empty_label=gettext_lazy("All"),
    )

    def by_balance(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        """By what is open."""
        del name
        if value == "even":
            return rows.filter(Q(balance__isnull=True) | Q(balance=0))
        return rows.filter(balance__gt=0) if value == "owes" else rows.filter(balance__lt=0)


class CustomerTable(PortalTable):
    """Who is billed."""

    empty_icon = "users"
    empty_title = gettext_lazy("No customers")
    empty_body = gettext_lazy("Customers get the bills of their agreements.")

    number = columns.Column(verbose_name=gettext_lazy("Number"))
    name = columns.Column(verbose_name=gettext_lazy("Name"))
    kind = BadgeColumn(verbose_name=gettext_lazy("Kind"), labels=words.CUSTOMER_KINDS, attrs=ROOMY)
    city = columns.Column(verbose_name=gettext_lazy("Place"), attrs=ROOMY)
    email = columns.Column(verbose_name=gettext_lazy("E-mail"), attrs=ROOMY)
    protected = BadgeColumn(
        verbose_name=gettext_lazy("Protection"),
        labels={True: gettext_lazy("Protected"), False: "–"},
        tones={True: "accent"},
        attrs=ROOMY,
    )
    agreement_count = NumberColumn(verbose_name=gettext_lazy("Agreements"))

    class Meta:
        order_by = ("name",)

    def render_name(self, value: str, record: Any) -> str:
        """The way to its page."""
        return link("customer", record.pk, value)

    def value_name(self, value: str) -> str:
        """The name alone."""
        return value


class CustomerFilter(PortalFilterSet):
    """By words."""

    search_fields = ("number", "name", "email", "city", "street")


class TariffTable(PortalTable):
    """Tariffs and what holds of them."""

    empty_icon = "coins"
    empty_title = gettext_lazy("No tariffs")
    empty_body = gettext_lazy(
        "A tariff says what energy costs: by time, by amount, by the highest demand."
    )

    name = columns.Column(verbose_name=gettext_lazy("Name"))
    currency = columns.Column(verbose_name=gettext_lazy("Currency"))
    in_force_from = columns.DateColumn(verbose_name=gettext_lazy("In force since"), format=DATE)
    version_count = NumberColumn(verbose_name=gettext_lazy("Versions"), attrs=ROOMY)
    draft_count = columns.Column(verbose_name=gettext_lazy("Drafts"))
    agreement_count = NumberColumn(verbose_name=gettext_lazy("Agreements"))
    archived_at = columns.Column(verbose_name=gettext_lazy("State"), empty_values=())

    class Meta:
        order_by = ("name",)

    def render_name(self, value: str, record: Any) -> str:
        """The way to its page."""
        return format_html(
            '<a href="{}">{}</a><small>{}</small>',
            reverse("tariff", args=[record.pk]),
            value,
            record.description,
        )

    def value_name(self, value: str) -> str:
        """The name alone."""
        return value

    def render_draft_count(self, value: int) -> str:
        """Something that waits to be published."""
        if not value:
            return "–"
        return format_html('<span class="wl-tag" data-tone="warn">{}</span>', value)

    def value_draft_count(self, value: int) -> int:
        """The number."""
        return value

    def render_archived_at(self, record: Any) -> str:
        """Whether new agreements may have it."""
        if record.archived_at:
            return format_html('<span class="wl-tag">{}</span>', _("Archived"))
        if record.in_force_from is None:
            return format_html('<span class="wl-tag" data-tone="warn">{}</span>', _("Not in force"))
        return format_html('<span class="wl-tag" data-tone="good">{}</span>', _("In force"))

    def value_archived_at(self, record: Any) -> str:
        """When it was archived."""
        return str(record.archived_at.isoformat()) if record.archived_at else ""


class TariffFilter(PortalFilterSet):
    """By words, and whether it may still be chosen."""

    search_fields = ("name", "description")

    archived = django_filters.ChoiceFilter(
        label=gettext_lazy("State"),
        method="by_archive",
        choices=[("no", gettext_lazy("In use")), ("yes", gettext_lazy("Archived"))],
        empty_label=gettext_lazy("All"),
    )

    def by_archive(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        """Archived or not."""
        del name
        return rows.filter(archived_at__isnull=value != "yes")


class RunTable(PortalTable):
    """Bill runs."""

    empty_icon = "clipboard-list"
    empty_title = gettext_lazy("No bill runs")
    empty_body = gettext_lazy(
        "A run makes the bills of a period as drafts. Once somebody has looked at the checklist and"
        " approved it, they become final."
    )

    first_on = columns.Column(verbose_name=gettext_lazy("For"))
    kind = columns.Column(verbose_name=gettext_lazy("Kind"), attrs=ROOMY)
    cycle = columns.Column(verbose_name=gettext_lazy("Billed"), attrs=ROOMY)
    state = BadgeColumn(
        verbose_name=gettext_lazy("State"), labels=words.RUN_STATES, tones=words.RUN_TONES
    )
    item_count = NumberColumn(verbose_name=gettext_lazy("Accounts"))
    held_count = NumberColumn(verbose_name=gettext_lazy("To be looked at"))
    failed_count = NumberColumn(verbose_name=gettext_lazy("Failed"), attrs=ROOMY)
    asked_by = columns.Column(
        verbose_name=pgettext_lazy("bill run", "Started by"), orderable=False, attrs=ROOMY
    )
    created_at = columns.DateTimeColumn(
        verbose_name=gettext_lazy("Made"), format="SHORT_DATETIME_FORMAT", short=True, attrs=ROOMY
    )

    class Meta:
        order_by = ("-created_at",)

    def render_first_on(self, record: Any) -> str:
        """The way to its page."""
        return link("bill-run", record.pk, words.days(record.first_on, record.end_on))

    def value_first_on(self, record: Any) -> str:
        """The first day."""
        return str(record.first_on.isoformat())


class RunFilter(PortalFilterSet):
    """By state."""

    state = django_filters.ChoiceFilter(
        label=gettext_lazy("State"), choices=RunState.choices, empty_label=gettext_lazy("All")
    )
