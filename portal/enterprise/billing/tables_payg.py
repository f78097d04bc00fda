"""The list of tokens of pay-as-you-go units."""

from __future__ import annotations

from decimal import Decimal

import django_filters
import django_tables2 as columns
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy

from billing.accounts.tokens import grouped
from billing.models import Delivery, PaygToken, TokenKind
from portal.enterprise.billing.tables import MoneyColumn
from portal.enterprise.registry.tables import ROOMY
from portal.frame import quantities
from portal.frame.filters import PortalFilterSet
from portal.frame.tables import BadgeColumn, PortalTable

_TONES = {"portal": "", "mail": "good", "wire": "good"}


class TokenTable(PortalTable):
    """Tokens, the newest first."""

    empty_icon = "key"
    empty_title = gettext_lazy("No tokens")
    empty_body = gettext_lazy("Each payment for a pay-as-you-go unit issues one.")

    token = columns.Column(verbose_name=gettext_lazy("Token"), orderable=False)
    serial = columns.Column(verbose_name=gettext_lazy("Unit"))
    kind = BadgeColumn(verbose_name=gettext_lazy("Kind"), labels=dict(TokenKind.choices), tones={})
    value = columns.Column(verbose_name=gettext_lazy("Days"), orderable=False)
    amount = MoneyColumn(verbose_name=gettext_lazy("Amount"), currency="unit__currency")
    reason = columns.Column(verbose_name=gettext_lazy("Reason"), attrs=ROOMY)
    delivery = BadgeColumn(
        verbose_name=gettext_lazy("Delivery"), labels=dict(Delivery.choices), tones=_TONES
    )
    issued_at = columns.DateTimeColumn(
        verbose_name=gettext_lazy("Issued"), format="SHORT_DATETIME_FORMAT", short=True
    )

    class Meta:
        order_by = ("-issued_at",)

    def render_token(self, value: str) -> str:
        """In threes, as it is read out."""
        return format_html('<span class="wl-mono">{}</span>', grouped(value))

    def value_token(self, value: str) -> str:
        """The digits alone."""
        return value

    def render_serial(self, value: str, record: PaygToken) -> str:
        """The way to the unit and what pays it."""
        address = reverse("prepaid", args=[record.unit.agreement_id])
        return format_html('<a href="{}">{}</a>', address, value)

    def value_serial(self, value: str) -> str:
        """The serial number alone."""
        return value

    def render_value(self, value: int, record: PaygToken) -> str:
        """In days, where it has any."""
        if record.kind not in (TokenKind.ADD_TIME, TokenKind.SET_TIME):
            return "–"
        return quantities.exact(Decimal(value) / record.unit.divider)


class TokenFilter(PortalFilterSet):
    """By words, kind and delivery."""

    search_fields = ("serial", "token", "reason")

    kind = django_filters.ChoiceFilter(
        label=gettext_lazy("Kind"), choices=TokenKind.choices, empty_label=gettext_lazy("All")
    )
    delivery = django_filters.ChoiceFilter(
        label=gettext_lazy("Delivery"), choices=Delivery.choices, empty_label=gettext_lazy("All")
    )
