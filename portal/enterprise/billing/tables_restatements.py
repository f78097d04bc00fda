"""The list of final bills that may not be right any more."""

from __future__ import annotations

from typing import Any

import django_filters
import django_tables2 as columns
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from billing.domain.restatement_words import sentences
from billing.domain.sentences import spoken
from billing.models import Restatement, RestatementState
from portal.enterprise.billing.tables import MoneyColumn
from portal.enterprise.registry.tables import ROOMY, TOOLS
from portal.frame import quantities
from portal.frame.filters import PortalFilterSet
from portal.frame.tables import BadgeColumn, PortalTable

TONES = {
    "found": "accent",
    "drafted": "warn",
    "failed": "bad",
    "settled": "good",
    "unchanged": "",
    "dismissed": "",
}


class RestatementTable(PortalTable):
    """What has changed under final bills."""

    empty_icon = "history"
    empty_title = gettext_lazy("No restatements")
    empty_body = gettext_lazy(
        "A late reading, a correction or a tariff mended backwards leads here: the bills that rest"
        " on it are computed anew."
    )

    number = columns.Column(verbose_name=gettext_lazy("Bill"))
    customer_name = columns.Column(verbose_name=gettext_lazy("Customer"), attrs=ROOMY)
    causes = columns.Column(verbose_name=gettext_lazy("Cause"), orderable=False, empty_values=())
    state = BadgeColumn(
        verbose_name=gettext_lazy("State"),
        labels=dict(RestatementState.choices),
        tones=TONES,
    )
    difference = MoneyColumn(verbose_name=gettext_lazy("Difference"), currency="bill__currency")
    new_bill = columns.Column(
        verbose_name=gettext_lazy("New bill"), orderable=False, empty_values=(None,), attrs=ROOMY
    )
    found_at = columns.DateTimeColumn(
        verbose_name=gettext_lazy("Found"), format="SHORT_DATETIME_FORMAT", short=True, attrs=ROOMY
    )

    class Meta:
        order_by = ("-found_at",)

    def render_number(self, value: str, record: Restatement) -> str:
        """The way to the bill."""
        return format_html('<a href="{}">{}</a>', reverse("bill", args=[record.bill_id]), value)

    def value_number(self, value: str) -> str:
        """The number alone."""
        return value

    def render_causes(self, record: Restatement) -> str:
        """In sentences, and why it cannot be computed or was let stand."""
        more = spoken(record.problem) or record.reason
        return format_html("{}<small>{}</small>", " ".join(sentences(record.causes)), more)

    def render_difference(self, value: Any, record: Restatement) -> str:
        """The way to the lines of both bills beside each other."""
        address = reverse("restatement", args=[record.pk])
        amount = quantities.money(value, record.bill.currency)
        return format_html('<a href="{}">{}</a>', address, amount)

    def value_causes(self, record: Restatement) -> str:
        """In one line."""
        return " ".join(sentences(record.causes))

    def render_new_bill(self, record: Restatement) -> str:
        """The way to the bill in its place."""
        assert record.new_bill is not None
        text = record.new_bill.number or _("Draft")
        return format_html('<a href="{}">{}</a>', reverse("bill", args=[record.new_bill_id]), text)

    def value_new_bill(self, record: Restatement) -> str:
        """Its number."""
        return record.new_bill.number if record.new_bill else ""


class DecidableTable(RestatementTable):
    """With the ways to settle it or let the bill stand."""

    tools = columns.Column(
        empty_values=(),
        orderable=False,
        verbose_name=gettext_lazy("Decide"),
        attrs=TOOLS,
        exclude_from_export=True,
    )

    def render_tools(self, record: Any) -> str:
        """Where something waits."""
        if record.ended_at is not None:
            return ""
        settle = reverse("restatement-settle", args=[record.pk])
        stand = reverse("restatement-dismiss", args=[record.pk])
        button = '<a class="wl-button" data-kind="quiet" data-size="s" href="{}">{}</a>'
        ways = format_html(button, stand, _("Let it stand"))
        if record.state == RestatementState.DRAFTED:
            ways = format_html("{} {}", format_html(button, settle, _("Settle")), ways)
        return ways


class RestatementFilter(PortalFilterSet):
    """By words and state."""

    search_fields = ("number", "customer_name", "agreement_number")

    state = django_filters.ChoiceFilter(
        label=gettext_lazy("State"),
        choices=RestatementState.choices,
        empty_label=gettext_lazy("All"),
    )
