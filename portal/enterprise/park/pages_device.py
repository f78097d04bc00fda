"""What the page of a device shows, prepared."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final, NamedTuple

from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from devices.domain.operations import TRANSITIONS
from devices.domain.queries import ChannelFacts, DeviceFacts
from devices.domain.sites import DevicePage
from devices.ingest.queue import BridgeEvent
from devices.models.device import DeviceState
from devices.protocol.codes import LogLevel
from devices.telemetry.history import Delivered, Event, LogLine
from firmware.models.ddi import DDI
from portal.charts import live as charts
from portal.charts import past
from portal.enterprise.park import words
from portal.enterprise.park.figures import completeness, whole
from portal.frame.quantities import NOTHING, channel_name, exact, quantity

_LEVEL_TONES: Final = {LogLevel.WARNING: "warn", LogLevel.ERROR: "bad", LogLevel.CRITICAL: "bad"}
_STATE_TONES: Final = {
    DeviceState.ACTIVE: "good",
    DeviceState.SUSPENDED: "warn",
    DeviceState.REVOKED: "bad",
}


class Change(NamedTuple):
    """A change of state that a person may ask for."""

    state: str
    action: str | Promise
    question: str | Promise
    kind: str


_CHANGES: Final = (
    Change(
        DeviceState.ACTIVE,
        gettext_lazy("Activate"),
        gettext_lazy("The device may connect and report from then on."),
        "",
    ),
    Change(
        DeviceState.SUSPENDED,
        gettext_lazy("Suspend"),
        gettext_lazy(
            "The device is disconnected and may not report until it is activated again. It keeps "
            "what it measures meanwhile as long as its memory lasts."
        ),
        "quiet",
    ),
    Change(
        DeviceState.REVOKED,
        gettext_lazy("Revoke"),
        gettext_lazy(
            "The device is disconnected for good. Its readings stay; to come back it has to be "
            "registered anew under another serial number. This cannot be undone."
        ),
        "danger",
    ),
)


def device(found: DevicePage, *, show_log: bool, may_change: bool, level: int) -> dict[str, Any]:
    """The context of a device's page."""
    facts = found.device
    lines = [
        (
            channel.quantity,
            channel.unit,
            words.line(
                facts, channel, words.part(channel) or channel_name(channel.name, channel.quantity)
            ),
        )
        for channel in facts.channels
    ]
    figures = charts.chart_per_quantity(lines)
    back = past.words(address=reverse("device-history", args=[facts.device_id]), title=facts.name)
    return {
        "facility": words.facility(found.facility),
        "device": words.device(facts) | _facts(facts),
        "delivered": _delivered(found.delivered, found.coverage),
        "channels": [_channel(channel, found.loads) for channel in facts.channels],
        "charts": figures,
        "presets": past.presets().items(),
        "changes": _changes(facts) if may_change else [],
        "may_change": may_change,
        "speaks_ddi": DDI in facts.capabilities,
        "may_rotate": may_change and facts.state != DeviceState.REVOKED,
        **history(found),
        "show_log": show_log,
        **(log(found, level=level) if show_log else {}),
        "page": words.live({"device": facts.device_id}, found.facility, [facts], figures, back),
    }


def log(found: DevicePage, *, level: int) -> dict[str, Any]:
    """A page of the firmware's log."""
    return {
        "log": [log_line(line) for line in found.log.items],
        "log_following": str(found.log.following) if found.log.following else "",
        "level": level,
        "levels": [
            (0, _("All levels")),
            *(
                (int(each), _("%(level)s and above") % {"level": level_name(each)})
                for each in (LogLevel.INFO, LogLevel.WARNING, LogLevel.ERROR)
            ),
        ],
    }


def history(found: DevicePage) -> dict[str, Any]:
    """A page of the device's history."""
    return {
        "events": [event(one) for one in found.events.items],
        "events_following": str(found.events.following) if found.events.following else "",
    }


def _facts(facts: DeviceFacts) -> dict[str, Any]:
    step = timedelta(milliseconds=facts.step_ms)
    offset = facts.link.clock_offset_ms if facts.link else None
    cursor = facts.cursor
    waiting = max(0, cursor.produced - cursor.committed) if cursor else 0
    return {
        "state": DeviceState(facts.state).label,
        "state_tone": _STATE_TONES.get(DeviceState(facts.state), ""),
        "serial": facts.serial,
        "hardware_revision": facts.hardware_revision,
        "step": words.duration(step),
        "interval": words.duration(step * facts.samples),
        "clock_offset": None if offset is None else _signed_seconds(offset),
        "waiting": ngettext("%(count)s message", "%(count)s messages", waiting)
        % {"count": whole(waiting)},
    }


def _signed_seconds(milliseconds: int) -> str:
    sign = "+" if milliseconds >= 0 else ""
    return f"{sign}{quantity(Decimal(milliseconds) / 1000, 's', 3)}"


def _channel(channel: ChannelFacts, loads: dict[int, str]) -> dict[str, Any]:
    unit = "" if channel.unit == "1" else channel.unit
    return {
        "number": channel.number,
        "name": channel_name(channel.name, channel.quantity),
        "resolution": f"{exact(channel.resolution)} {unit}".strip(),
        "range": _("%(least)s to %(most)s")
        % {
            "least": quantity(channel.minimum, unit),
            "most": quantity(channel.maximum, unit),
        },
        "load": loads.get(channel.number, ""),
    }


def _delivered(delivered: Delivered, coverage: float | None) -> dict[str, str]:
    return {
        "coverage": completeness(coverage, 1),
        "values": whole(delivered.values),
        "frames": whole(delivered.frames),
        "duplicate": whole(delivered.duplicate),
        "quarantined": whole(delivered.quarantined),
        "tone": "bad" if delivered.quarantined else "",
    }


def _changes(facts: DeviceFacts) -> Iterable[Change]:
    allowed = TRANSITIONS[DeviceState(facts.state)]
    return [change for change in _CHANGES if change.state in allowed]


def event(found: Event) -> dict[str, Any]:
    """An event of the history in words."""
    titles = {
        BridgeEvent.CONNECTED: (_("Connected"), "good"),
        BridgeEvent.DISCONNECTED: (_("Disconnected"), "warn"),
        BridgeEvent.REFUSED: (_("Refused"), "bad"),
    }
    title, tone = titles.get(found.kind, (found.kind, ""))  # type: ignore[call-overload]
    if found.kind == BridgeEvent.CONNECTED:
        version = found.data.get("firmware_version", "")
        text = _("Firmware %(version)s") % {"version": version} if version else ""
    elif "text" in found.data:
        text = str(found.data["text"])
    else:
        text = ", ".join(f"{key} {value}" for key, value in found.data.items())
    return {"at": found.occurred_at, "title": title, "tone": tone, "text": text}


def log_line(line: LogLine) -> dict[str, Any]:
    """A line of the firmware's log; a level that a newer firmware has is told as its number."""
    try:
        level = LogLevel(line.level)
    except ValueError:
        return {"at": line.logged_at, "title": str(line.level), "tone": "", "text": line.line}
    return {
        "at": line.logged_at,
        "title": level_name(level),
        "tone": _LEVEL_TONES.get(level, ""),
        "text": line.line,
    }


def level_name(level: LogLevel) -> str:
    """A level of the protocol in words."""
    names = {
        LogLevel.DEBUG: _("Debug"),
        LogLevel.INFO: _("Info"),
        LogLevel.WARNING: _("Warning"),
        LogLevel.ERROR: _("Error"),
        LogLevel.CRITICAL: _("Critical"),
    }
    return names.get(level, NOTHING)
