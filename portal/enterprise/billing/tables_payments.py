"""Lists of payments, of files of payments, and of what is owed by age."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any, Final

import django_filters
import django_tables2 as columns
from django.db.models import QuerySet
from django.urls import reverse
from django.utils.formats import date_format
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from billing.domain.payments_pages_queries import aged
from billing.models import Payment, Provider
from portal.enterprise.billing import words
from portal.enterprise.billing.tables import DATE, MoneyColumn, link
from portal.enterprise.registry.tables import ROOMY, TOOLS
from portal.frame.filters import PortalFilterSet
from portal.frame.tables import BadgeColumn, NumberColumn, PortalTable

# As `payments_pages_queries.AGES`.
AGES: Final = (
    gettext_lazy("Not due yet"),
    gettext_lazy("1 to 30 days late"),
    gettext_lazy("31 to 60 days late"),
    gettext_lazy("61 to 90 days late"),
    gettext_lazy("More than 90 days late"),
)


class PaymentTable(PortalTable):
    """Payments, and what went back."""

    empty_icon = "coins"
    empty_title = gettext_lazy("No payments")
    empty_body = gettext_lazy("They are entered by hand, read from bank statements, or told of.")

    received_on = columns.DateColumn(verbose_name=gettext_lazy("Received"), format=DATE)
    payer = columns.Column(verbose_name=gettext_lazy("Payer"), empty_values=())
    text = columns.Column(verbose_name=gettext_lazy("Text"), attrs=ROOMY)
    agreement_number = columns.Column(
        verbose_name=gettext_lazy("Agreement"), empty_values=(), orderable=False
    )
    provider = BadgeColumn(
        verbose_name=gettext_lazy("Told by"), labels=dict(Provider.choices), attrs=ROOMY
    )
    amount = MoneyColumn(verbose_name=gettext_lazy("Amount"))
    currency = columns.Column(verbose_name=gettext_lazy("Currency"), visible=False)

    class Meta:
        order_by = ("-received_on",)

    def render_received_on(self, value: date, record: Payment) -> str:
        """The way to the payment."""
        return link("payment", record.pk, date_format(value, DATE))

    def value_received_on(self, value: date) -> str:
        """The day alone."""
        return value.isoformat()

    def render_payer(self, record: Payment) -> str:
        """Who paid, and from where."""
        return format_html("{}<small>{}</small>", record.payer or "–", record.payer_account)

    def value_payer(self, record: Payment) -> str:
        """The name alone."""
        return record.payer

    def render_agreement_number(self, record: Any) -> str:
        """Whose it is, or that nobody knows."""
        if not record.agreement_number:
            return format_html('<span class="wl-tag" data-tone="warn">{}</span>', _("Nobody's yet"))
        return format_html(
            "{}<small>{}</small>",
            link("agreement", record.agreement_id, record.agreement_number),
            record.customer_name or "",
        )

    def value_agreement_number(self, record: Any) -> str:
        """The number alone."""
        return record.agreement_number or ""


class PaymentFilter(PortalFilterSet):
    """By words, by whether it is known whose they are, and by who told of them."""

    search_fields = ("payer", "payer_account", "text", "agreement_number", "customer_name")

    whose = django_filters.ChoiceFilter(
        label=gettext_lazy("Account"),
        method="by_account",
        choices=[
            ("known", gettext_lazy("Known whose")),
            ("unknown", gettext_lazy("Nobody's yet")),
        ],
        empty_label=gettext_lazy("All"),
    )
    provider = django_filters.ChoiceFilter(
        label=gettext_lazy("Told by"), choices=Provider.choices, empty_label=gettext_lazy("All")
    )

    def by_account(self, rows: QuerySet[Payment], name: str, value: str) -> QuerySet[Payment]:
        """Those with an agreement, or those without."""
        del name
        return rows.filter(agreement__isnull=value == "unknown")


class ImportTable(PortalTable):
    """Files of payments that were taken in."""

    empty_icon = "file-import"
    empty_title = gettext_lazy("No files")
    empty_body = gettext_lazy("A bank statement is looked at first, then taken.")

    file_name = columns.Column(verbose_name=gettext_lazy("File"))
    format = columns.Column(verbose_name=gettext_lazy("Format"), attrs=ROOMY)
    lines = NumberColumn(verbose_name=gettext_lazy("Payments in it"))
    taken = NumberColumn(verbose_name=gettext_lazy("Taken"))
    matched = NumberColumn(verbose_name=gettext_lazy("Matched"))
    created_at = columns.DateTimeColumn(
        verbose_name=gettext_lazy("When"), format="SHORT_DATETIME_FORMAT", short=True
    )
    created_by = columns.Column(verbose_name=gettext_lazy("By"), attrs=ROOMY)

    class Meta:
        order_by = ("-created_at",)


class OpenTable(PortalTable):
    """What is owed, entry by entry."""

    empty_icon = "receipt"
    empty_title = gettext_lazy("Nothing is owed")

    due_on = columns.DateColumn(verbose_name=gettext_lazy("Due"), format=DATE)
    key = columns.Column(verbose_name=gettext_lazy("For"), orderable=False)
    number = columns.Column(accessor="agreement__number", verbose_name=gettext_lazy("Agreement"))
    customer_name = columns.Column(
        verbose_name=gettext_lazy("Customer"), empty_values=(None,), attrs=ROOMY
    )
    amount = MoneyColumn(verbose_name=gettext_lazy("Amount"))
    open = MoneyColumn(verbose_name=gettext_lazy("Open"))
    currency = columns.Column(verbose_name=gettext_lazy("Currency"), visible=False)

    class Meta:
        order_by = ("due_on",)

    def render_key(self, record: Any) -> str:
        """The way to the bill, or what it is."""
        kind = str(words.ENTRY_KINDS.get(record.kind, record.kind))
        if record.bill_id is None:
            return format_html("{}<small>{}</small>", kind, record.text)
        return link("bill", record.bill_id, record.bill.number or kind)

    def value_key(self, record: Any) -> str:
        """The number of the bill, or the kind."""
        return str(record.bill.number if record.bill_id else record.kind)

    def render_number(self, value: str, record: Any) -> str:
        """The way to what dunning does about it."""
        return link("agreement-dunning", record.agreement_id, value)

    def value_number(self, value: str) -> str:
        """The number alone."""
        return value


class DecidableOpenTable(OpenTable):
    """With the way to give an entry up."""

    tools = columns.Column(
        empty_values=(),
        orderable=False,
        verbose_name=gettext_lazy("Decide"),
        attrs=TOOLS,
        exclude_from_export=True,
    )

    def render_tools(self, record: Any) -> str:
        """Write it off."""
        return format_html(
            '<a class="wl-button" data-kind="quiet" data-size="s" href="{}">{}</a>',
            reverse("open-item-write-off", args=[record.pk]),
            _("Write off"),
        )


class OpenFilter(PortalFilterSet):
    """By words and age."""

    search_fields = ("agreement__number", "customer_name", "bill__number", "facility__name")

    age = django_filters.ChoiceFilter(
        label=gettext_lazy("Age"),
        method="by_age",
        choices=[(str(n), label) for n, label in enumerate(AGES)],
        empty_label=gettext_lazy("All"),
    )

    def by_age(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        """Those of an age, as of today."""
        del name
        return aged(rows, int(value), on=datetime.now(UTC).date())
