"""Rules of groups in words."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from devices.domain.groups_queries import Choices
from devices.domain.selection import Condition, Rule
from devices.models import DeviceState, FacilityKind, Placement

# The fields of conditions, in the order in which people are asked.
FIELDS: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "device_type": gettext_lazy("Device type"),
        "facility": gettext_lazy("Facility, with its areas"),
        "placement": gettext_lazy("Placement"),
        "facility_kind": gettext_lazy("Kind of facility"),
        "country": gettext_lazy("Country"),
        "region": gettext_lazy("Region"),
        "firmware": gettext_lazy("Firmware"),
        "hardware": gettext_lazy("Hardware revision"),
        "state": gettext_lazy("State"),
        "connected": gettext_lazy("Link"),
        "group": gettext_lazy("Group"),
    }
)
_CODES: Final[Mapping[str, Mapping[str, str | Promise]]] = MappingProxyType(
    {
        "placement": dict(Placement.choices),
        "facility_kind": dict(FacilityKind.choices),
        "state": dict(DeviceState.choices),
    }
)


def rule(of: Rule, choices: Choices) -> list[str]:
    """Each condition as a line."""
    named = {
        "device_type": dict(choices.types),
        "facility": dict(choices.facilities),
        "group": dict(choices.groups),
    }
    return [_condition(one, named) for one in of.conditions]


def _condition(one: Condition, named: Mapping[str, Mapping[int, str]]) -> str:
    values = ", ".join(_value(one.field, value, named) for value in one.values)
    sentence = _("%(field)s: not %(values)s") if one.negated else _("%(field)s: %(values)s")
    return sentence % {"field": FIELDS[one.field], "values": values}


def _value(field: str, value: int | str | bool, named: Mapping[str, Mapping[int, str]]) -> str:
    if field in named:
        return named[field].get(int(value), _("one that is gone"))
    if field == "connected":
        return _("Online") if value else _("Offline")
    return str(_CODES.get(field, {}).get(str(value), value))
