"""What narrows the registry's lists."""

from __future__ import annotations

from typing import Any

import django_filters
from django import forms
from django.db.models import Exists, QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from devices.domain import claims_queries, registry_queries
from devices.domain.selection import MAX_TEXT
from devices.models import (
    DeviceState,
    DeviceType,
    Drift,
    Facility,
    FacilityKind,
    Outcome,
    Placement,
)
from portal.enterprise.registry import texts
from portal.frame.filters import PortalFilterSet
from portal.frame.forms import LongSelect

WITH_ALL = "all"
WITH_SOME = "some"
WITHOUT = "none"


def _facilities(request: HttpRequest | None) -> QuerySet[Facility]:
    """Asked for with each request: what it finds depends on the scope."""
    del request
    return Facility.objects.only("name").order_by("name", "pk")


def _types(request: HttpRequest | None) -> QuerySet[DeviceType]:
    del request
    return DeviceType.objects.order_by("name", "pk")


class FacilityFilter(PortalFilterSet):
    """By words, kind, and whether devices are missing."""

    search_fields = ("name", "city", "street", "postal_code", "parent__name")

    kind = django_filters.ChoiceFilter(
        label=_("Kind"), choices=FacilityKind.choices, empty_label=_("All")
    )
    link = django_filters.ChoiceFilter(
        label=_("Devices"),
        method="by_link",
        empty_label=_("All"),
        choices=[
            (WITH_ALL, _("All online")),
            (WITH_SOME, _("Some offline")),
            (WITHOUT, _("Without devices")),
        ],
    )

    def by_link(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        """Those whose active devices are all connected, or not, or that have none."""
        del name
        offline = Exists(registry_queries.active_devices(connected=False))
        some = Exists(registry_queries.active_devices())
        match value:
            case "all":
                return rows.filter(some, ~offline)
            case "some":
                return rows.filter(offline)
            case _:
                return rows.filter(~some)


class DeviceFilter(PortalFilterSet):
    """By words, facility, type, state, link, placement, firmware, and whether settings are as
    wanted.
    """

    search_fields = ("name", "serial", "facility__name")

    facility = django_filters.ModelChoiceFilter(
        label=_("Facility"), queryset=_facilities, empty_label=_("All"), widget=LongSelect
    )
    device_type = django_filters.ModelChoiceFilter(
        label=_("Type"), queryset=_types, empty_label=_("All"), widget=LongSelect
    )
    state = django_filters.ChoiceFilter(
        label=_("State"), choices=DeviceState.choices, empty_label=_("All")
    )
    link = django_filters.ChoiceFilter(
        label=_("Link"), method="by_link", empty_label=_("All"), choices=list(texts.LINKS.items())
    )
    placement = django_filters.ChoiceFilter(
        label=_("Placement"), choices=Placement.choices, empty_label=_("All")
    )

    firmware = django_filters.CharFilter(
        label=_("Firmware"),
        method="by_firmware",
        max_length=MAX_TEXT,
        widget=forms.TextInput(
            attrs={"placeholder": _("1.4.0 or >=1.2,<2"), "autocomplete": "off"}
        ),
    )
    settings = django_filters.ChoiceFilter(
        label=_("Settings"),
        method="by_settings",
        empty_label=_("All"),
        choices=[("drift", _("Not as wanted"))],
    )

    def by_firmware(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        """Devices that say they run this version, or one of this range or with this text."""
        del name
        return rows.filter(firmware_version__in=registry_queries.versions_running(value))

    def by_settings(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        """Devices that were told what is wanted of them, and are left different."""
        del name, value
        return rows.filter(configuration__drift__in=[drift for drift in Drift.values if drift])

    def by_link(self, rows: QuerySet[Any], name: str, value: str) -> QuerySet[Any]:
        """Active devices that are connected, are not, or never were."""
        del name
        active = rows.filter(state=DeviceState.ACTIVE)
        match value:
            case texts.ONLINE:
                return active.filter(connected=True)
            case texts.OFFLINE:
                return active.filter(last_seen_at__isnull=False).exclude(connected=True)
            case _:
                return active.filter(last_seen_at__isnull=True).exclude(connected=True)


class DeviceTypeFilter(PortalFilterSet):
    """By words."""

    search_fields = ("name", "code", "manufacturer")


class CodeFilter(PortalFilterSet):
    """By words and state."""

    search_fields = ("device__serial", "device__name", "device__facility__name", "ending")

    state = django_filters.ChoiceFilter(
        label=_("State"),
        empty_label=_("All"),
        choices=[
            (claims_queries.OPEN, pgettext_lazy("state", "Open")),
            (claims_queries.USED, _("Used")),
            (claims_queries.WITHDRAWN, _("Withdrawn")),
            (claims_queries.EXPIRED, _("Expired")),
        ],
    )


class LineFilter(PortalFilterSet):
    """By words and what the rows do."""

    search_fields = ("label",)

    outcome = django_filters.ChoiceFilter(
        label=_("Outcome"), choices=Outcome.choices, empty_label=_("All")
    )
