"""The accounts of a bill run, with what the checklist asks of each."""

from __future__ import annotations

from typing import Any

import django_filters
import django_tables2 as columns
from django.db.models import QuerySet
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from billing.models import BillRunItem, ItemState
from portal.enterprise.billing import findings, words
from portal.enterprise.billing.tables import MoneyColumn, link
from portal.enterprise.registry.tables import CHOICE, ROOMY
from portal.frame.filters import PortalFilterSet
from portal.frame.tables import BadgeColumn, NumberColumn, PortalTable

# Accounts that can be accepted, left out or computed anew.
_DECIDED_ABOUT = (ItemState.DRAFTED, ItemState.HELD, ItemState.FAILED)


class ItemTable(PortalTable):
    """Accounts of a run."""

    empty_icon = "file-text"
    empty_title = gettext_lazy("No accounts")
    empty_body = gettext_lazy("No agreement is billed for this period.")

    number = columns.Column(verbose_name=gettext_lazy("Agreement"))
    customer_name = columns.Column(verbose_name=gettext_lazy("Customer"), attrs=ROOMY)
    facility = columns.Column(
        accessor="facility__name", verbose_name=gettext_lazy("Facility"), attrs=ROOMY
    )
    state = BadgeColumn(
        verbose_name=gettext_lazy("State"), labels=words.ITEM_STATES, tones=words.ITEM_TONES
    )
    findings = columns.Column(
        verbose_name=gettext_lazy("Checklist"), orderable=False, empty_values=()
    )
    bill_kwh = NumberColumn(verbose_name="kWh", attrs=ROOMY)
    bill_total = MoneyColumn(verbose_name=gettext_lazy("Bill"), currency="bill_currency")

    class Meta:
        order_by = ("number",)

    def render_number(self, value: str, record: BillRunItem) -> str:
        """The way to the agreement."""
        return link("agreement", record.agreement_id, value)

    def value_number(self, value: str) -> str:
        """The number alone."""
        return value

    def render_findings(self, record: BillRunItem) -> str:
        """What the checklist found, why it failed, or who has accepted it."""
        told = findings.sentences(record)
        return format_html(
            '<ul class="wl-findings">{}</ul>',
            format_html_join("", "<li>{}</li>", ((one,) for one in told)),
        )

    def value_findings(self, record: BillRunItem) -> str:
        """The same in one line."""
        return "; ".join(findings.sentences(record))

    def render_bill_total(self, value: Any, record: Any) -> str:
        """The way to the bill."""
        shown = self.columns["bill_total"].column.render(value, record)
        return format_html('<a href="{}">{}</a>', reverse("bill", args=[record.bill_pk]), shown)


class ChoosableItemTable(ItemTable):
    """With a box to choose each account that may be decided about."""

    chosen = columns.Column(
        accessor="pk",
        orderable=False,
        verbose_name=gettext_lazy("Choose"),
        attrs=CHOICE,
        exclude_from_export=True,
    )

    class Meta(ItemTable.Meta):
        sequence = ("chosen", "...")

    def render_chosen(self, value: int, record: Any) -> str:
        """A box of the form `chosen` (see the page's template)."""
        if record.state not in _DECIDED_ABOUT:
            return ""
        return format_html(
            '<input type="checkbox" name="item" value="{}" form="chosen" aria-label="{}">',
            value,
            _("Choose %(name)s") % {"name": record.number},
        )


class ItemFilter(PortalFilterSet):
    """By words, state and what the checklist found."""

    search_fields = ("number", "customer_name", "facility__name")

    state = django_filters.ChoiceFilter(
        label=gettext_lazy("State"), choices=ItemState.choices, empty_label=gettext_lazy("All")
    )
    finding = django_filters.ChoiceFilter(
        label=gettext_lazy("Checklist"),
        method="by_finding",
        choices=findings.CHOICES,
        empty_label=gettext_lazy("All"),
    )

    def by_finding(
        self, rows: QuerySet[BillRunItem], name: str, value: str
    ) -> QuerySet[BillRunItem]:
        """Those of which the checklist says so."""
        del name
        return rows.filter(findings__contains=[{"code": value}])
