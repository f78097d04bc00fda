"""Settings of devices in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from devices.configuration.settings import KINDS, Value
from devices.domain.commands_texts import why_refused
from devices.domain.configuration_operations import Plan
from devices.domain.configuration_queries import ChangeEntry, Settings, physical_limits
from devices.models import Channel, Drift
from devices.protocol.errors import ProtocolError
from devices.protocol.settings import parse_channels
from portal.enterprise.registry import texts
from portal.frame.quantities import NOTHING, channel_name, exact, number, quantity

LABELS: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "step_ms": gettext_lazy("Time between two samples"),
        "samples": gettext_lazy("Samples in a frame"),
        "channels": gettext_lazy("Channels that are reported"),
        "limits": gettext_lazy("Limits of channels"),
        "output": gettext_lazy("Output"),
        "power_limit_w": gettext_lazy("Power limit"),
        "display.price": gettext_lazy("Display: price"),
        "display.currency": gettext_lazy("Display: currency"),
        "display.month_use_wh": gettext_lazy("Display: use of the month"),
        "display.month_cost": gettext_lazy("Display: cost of the month"),
        "display.message": gettext_lazy("Display: message"),
    }
)
_ALWAYS: Final = ("step_ms", "samples")


def label(key: str) -> str:
    """What a setting is called; one that a newer firmware has is told by its key."""
    return str(LABELS.get(key, key))


def value(key: str, told: Value | None, channels: Sequence[Channel]) -> str:
    """A value for people."""
    if told is None:
        return NOTHING
    try:
        return _value(key, told, channels)
    except (ProtocolError, ValueError, TypeError):
        # Said by a device, and not in the form that it should have.
        return str(told)


def _value(key: str, told: Value, channels: Sequence[Channel]) -> str:
    match key:
        case "step_ms":
            return f"{number(int(told))} ms"
        case "samples" | "display.month_use_wh":
            text = number(int(told))
            return f"{text} Wh" if key == "display.month_use_wh" else text
        case "output":
            return {0: _("Off"), 1: _("On")}.get(int(told), str(told))
        case "power_limit_w":
            return _("None") if int(told) < 0 else quantity(int(told), "W")
        case "channels":
            return _channels(str(told), channels)
        case "limits":
            return _limits(str(told), channels)
    return str(told)


def _channels(told: str, channels: Sequence[Channel]) -> str:
    wanted = set(parse_channels(told))
    if wanted == {channel.number for channel in channels}:
        return _("All")
    names = [channel_name(c.name, c.quantity) for c in channels if c.number in wanted]
    return ", ".join(names) or told


def _limits(told: str, channels: Sequence[Channel]) -> str:
    lines = []
    named = {channel.number: channel for channel in channels}
    for at, (low, high) in physical_limits(told, channels).items():
        unit = "" if named[at].unit == "1" else f" {named[at].unit}"
        span = " ".join(
            part
            for part in (
                "" if low is None else f"≥ {exact(low)}{unit}",
                "" if high is None else f"≤ {exact(high)}{unit}",
            )
            if part
        )
        lines.append(f"{channel_name(named[at].name, named[at].quantity)}: {span}")
    return "; ".join(lines) or _("None")


def page(found: Settings) -> dict[str, Any]:
    """What the page of a device's settings shows."""
    zone = found.device.facility.time_zone
    keys = {*_ALWAYS, *found.desired, *(found.reported or ())}
    ordered = [key for key in LABELS if key in keys] + sorted(keys - set(LABELS))
    return {
        "device": {"pk": found.device.pk, "name": found.device.name},
        "facility": {"pk": found.device.facility_id, "name": found.device.facility.name},
        "rows": [_row(key, found) for key in ordered],
        "reports": found.reported is not None,
        "reported": found.reported_at and texts.instant(found.reported_at, zone),
        "drift": found.drift
        and {
            "reason": Drift(found.drift).label,
            "detail": value_of_detail(found.drift, found.drift_detail),
        },
        "next": found.next_at and texts.instant(found.next_at, zone),
        "differs": bool(found.different),
        "changes": [_change(one, found, zone) for one in found.changes],
    }


def value_of_detail(drift: str, detail: str) -> str:
    """What stands beside the reason of a difference: the device's words, or the setting."""
    return label(detail) if drift == Drift.UNSUPPORTED else detail


def _row(key: str, found: Settings) -> dict[str, Any]:
    wanted = found.desired.get(key)
    told = None if found.reported is None else found.reported.get(key)
    default = {
        "step_ms": found.device.device_type.step_ms,
        "samples": found.device.device_type.samples,
    }.get(key)
    state, tone = _state(key, found)
    return {
        "label": label(key),
        "wanted": value(key, wanted, found.channels),
        "default": ""
        if wanted is not None or default is None
        else _("as its type: %(value)s") % {"value": value(key, default, found.channels)},
        "told": value(key, told, found.channels),
        "state": state,
        "tone": tone,
    }


def _state(key: str, found: Settings) -> tuple[str, str]:
    if key in found.pending:
        return _("Being told"), "accent"
    if key not in found.desired:
        return "", ""
    if found.reported is None:
        return _("Not reported"), ""
    if key in found.different:
        return _("Differs"), "warn"
    return _("As wanted"), "good"


def _change(one: ChangeEntry, found: Settings, zone: str) -> dict[str, Any]:
    return {
        "made": texts.instant(one.changed_at, zone),
        "author": one.author or _("the system"),
        "reason": one.reason,
        "lines": [
            {
                "label": label(key),
                "before": value(key, one.before.get(key), found.channels),
                "after": value(key, after, found.channels),
            }
            for key, after in one.after.items()
        ],
    }


def changes(wanted: Mapping[str, Value | None], channels: Sequence[Channel] = ()) -> list[str]:
    """Changes as lines."""
    return [
        f"{label(key)}: {value(key, told, channels) if told is not None else _('as its type')}"
        for key, told in wanted.items()
        if key in KINDS
    ]


def plan(found: Plan) -> dict[str, Any]:
    """Who gets a change and who cannot, with the reasons."""
    return {
        "told": len(found.told),
        "waiting": len(found.waiting),
        "refused": [
            {"count": len(ids), "reason": why_refused(code)} for code, ids in found.refused.items()
        ],
        "some": bool(found.told or found.waiting),
    }
