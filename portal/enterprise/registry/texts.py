"""Words and instants of the registry's pages."""

from __future__ import annotations

from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Final
from zoneinfo import ZoneInfo

from django.utils.formats import date_format
from django.utils.functional import Promise
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from devices.models import DeviceState, FacilityKind, LoadCategory, Placement

# Plain dictionaries: tables copy their columns deeply.
FACILITY_KINDS: Final = dict(FacilityKind.choices)
PLACEMENTS: Final = dict(Placement.choices)
STATES: Final = dict(DeviceState.choices)
CATEGORIES: Final = dict(LoadCategory.choices)
STATE_TONES: Final = {
    "active": "good",
    "planned": "accent",
    "suspended": "warn",
    "revoked": "bad",
}

# The link of an active device, as a filter and in words.
ONLINE: Final = "online"
OFFLINE: Final = "offline"
NEVER: Final = "never"
LINKS: Final[MappingProxyType[str, Promise]] = MappingProxyType(
    {
        ONLINE: gettext_lazy("Online"),
        OFFLINE: gettext_lazy("Offline"),
        NEVER: gettext_lazy("Never connected"),
    }
)

FIELDS: Final[MappingProxyType[str, Promise]] = MappingProxyType(
    {
        "parent": gettext_lazy("Part of"),
        "name": gettext_lazy("Name"),
        "kind": gettext_lazy("Kind"),
        "street": gettext_lazy("Street"),
        "postal_code": gettext_lazy("Postal code"),
        "city": gettext_lazy("City"),
        "region": gettext_lazy("Region"),
        "country": gettext_lazy("Country"),
        "latitude": gettext_lazy("Latitude"),
        "longitude": gettext_lazy("Longitude"),
        "time_zone": gettext_lazy("Time zone"),
        "facility": gettext_lazy("Facility"),
        "device_type": gettext_lazy("Device type"),
        "serial": gettext_lazy("Serial"),
        "placement": gettext_lazy("Placement"),
        "hardware_revision": gettext_lazy("Hardware revision"),
        "state": gettext_lazy("State"),
        "category": gettext_lazy("Category"),
    }
)


def instant(at: datetime, zone: str) -> str:
    """An instant in a facility's zone, in the reader's format, with the zone's abbreviation."""
    local = at.astimezone(ZoneInfo(zone))
    return f"{date_format(local, 'SHORT_DATETIME_FORMAT')} {local.tzname()}"


def day(at: datetime, zone: str) -> str:
    """The day of an instant in a facility's zone, with the instant itself as a tip."""
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        at.isoformat(),
        instant(at, zone),
        date_format(at.astimezone(ZoneInfo(zone)), "SHORT_DATE_FORMAT"),
    )


def ago(at: datetime, zone: str, *, now: datetime) -> str:
    """How long ago, with the instant itself as a tip."""
    return format_html(
        '<time datetime="{}" title="{}">{}</time>',
        at.isoformat(),
        instant(at, zone),
        since(now - at),
    )


def since(age: timedelta) -> str:
    """An age in the unit that says enough."""
    minutes = max(0, int(age.total_seconds() // 60))
    if minutes < 1:
        return _("just now")
    if minutes < 90:
        return ngettext("%(n)d minute ago", "%(n)d minutes ago", minutes) % {"n": minutes}
    hours = round(minutes / 60)
    if hours < 48:
        return ngettext("%(n)d hour ago", "%(n)d hours ago", hours) % {"n": hours}
    return ngettext("%(n)d day ago", "%(n)d days ago", age.days) % {"n": age.days}


def shown(field: str, value: Any, names: dict[str, dict[Any, str]]) -> str:
    """A stored value in words: codes by their labels, relations by their names."""
    if value in (None, ""):
        return "–"
    codes: dict[str, dict[Any, Any]] = {
        "kind": FACILITY_KINDS,
        "placement": PLACEMENTS,
        "state": STATES,
        "category": CATEGORIES,
        **names,
    }
    return str(codes.get(field, {}).get(value, value))
