"""Lists of dunning cases and of plans of payments."""

from __future__ import annotations

from typing import Any, Final

import django_filters
import django_tables2 as columns
from django.db.models import QuerySet
from django.utils.translation import gettext_lazy, pgettext_lazy

from billing.models import DunningCase, InstalmentPlan, PlanState
from portal.enterprise.billing.tables import DATE, MoneyColumn, link
from portal.enterprise.registry.tables import ROOMY
from portal.frame.filters import PortalFilterSet
from portal.frame.tables import BadgeColumn, NumberColumn, PortalTable

CASE_STATES: Final = {
    "open": pgettext_lazy("dunning", "Open"),
    "paused": pgettext_lazy("dunning", "Paused"),
    "limited": gettext_lazy("Power limited"),
    "off": gettext_lazy("Switched off"),
    "closed": pgettext_lazy("dunning", "Closed"),
}
CASE_TONES: Final = {"open": "warn", "paused": "accent", "limited": "bad", "off": "bad"}
PLAN_STATES: Final = dict(PlanState.choices)
PLAN_TONES: Final = {"active": "accent", "kept": "good", "broken": "bad"}


class CaseTable(PortalTable):
    """Accounts that are, or were, behind."""

    empty_icon = "clock"
    empty_title = gettext_lazy("No cases")
    empty_body = gettext_lazy("Accounts that have fallen behind are looked for each hour.")

    number = columns.Column(accessor="agreement__number", verbose_name=gettext_lazy("Agreement"))
    customer_name = columns.Column(verbose_name=gettext_lazy("Customer"), empty_values=(None,))
    facility = columns.Column(
        accessor="facility__name", verbose_name=gettext_lazy("Facility"), attrs=ROOMY
    )
    state = BadgeColumn(verbose_name=gettext_lazy("State"), labels=CASE_STATES, tones=CASE_TONES)
    taken = NumberColumn(verbose_name=gettext_lazy("Steps taken"), attrs=ROOMY)
    overdue = MoneyColumn(verbose_name=gettext_lazy("Overdue"), currency="agreement__currency")
    counts_from = columns.DateColumn(
        verbose_name=gettext_lazy("Counts from"), format=DATE, attrs=ROOMY
    )

    class Meta:
        order_by = ("-counts_from",)

    def render_number(self, value: str, record: DunningCase) -> str:
        """The way to the case."""
        return link("dunning-case", record.pk, value)

    def value_number(self, value: str) -> str:
        """The number alone."""
        return value


class CaseFilter(PortalFilterSet):
    """By words and state."""

    search_fields = ("agreement__number", "customer_name", "facility__name")

    state = django_filters.ChoiceFilter(
        label=gettext_lazy("State"),
        method="by_state",
        choices=[("running", gettext_lazy("All that are open")), *CASE_STATES.items()],
        empty_label=gettext_lazy("All"),
    )

    def by_state(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        """By what the list shows, or all that are not over."""
        del name
        return rows.exclude(state="closed") if value == "running" else rows.filter(state=value)


class PlanTable(PortalTable):
    """Plans of payments."""

    empty_icon = "calendar"
    empty_title = gettext_lazy("No plans")
    empty_body = gettext_lazy("Instalments are agreed on the page of an account's dunning.")

    number = columns.Column(accessor="agreement__number", verbose_name=gettext_lazy("Agreement"))
    customer_name = columns.Column(verbose_name=gettext_lazy("Customer"), empty_values=(None,))
    facility = columns.Column(
        accessor="facility__name", verbose_name=gettext_lazy("Facility"), attrs=ROOMY
    )
    state = BadgeColumn(verbose_name=gettext_lazy("State"), labels=PLAN_STATES, tones=PLAN_TONES)
    parts = columns.Column(
        accessor="instalments", verbose_name=gettext_lazy("Instalments"), orderable=False
    )
    created_at = columns.DateTimeColumn(
        verbose_name=gettext_lazy("Agreed"), format="SHORT_DATETIME_FORMAT", short=True, attrs=ROOMY
    )

    class Meta:
        order_by = ("-created_at",)

    def render_number(self, value: str, record: InstalmentPlan) -> str:
        """The way to the plan."""
        return link("plan", record.pk, value)

    def value_number(self, value: str) -> str:
        """The number alone."""
        return value

    def render_parts(self, value: list[dict[str, str]]) -> str:
        """How many there are."""
        return str(len(value))


class PlanFilter(PortalFilterSet):
    """By words and state."""

    search_fields = ("agreement__number", "customer_name", "facility__name", "reason")

    state = django_filters.ChoiceFilter(
        label=gettext_lazy("State"), choices=PlanState.choices, empty_label=gettext_lazy("All")
    )
