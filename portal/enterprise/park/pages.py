"""What the templates of this app show, prepared: texts, states, charts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from django.utils.formats import number_format
from django.utils.translation import gettext as _

from devices.domain.overview import COMPLETE, ParkNow
from devices.domain.queries import (
    ChannelFacts,
    DeviceDetail,
    DeviceFacts,
    FacilityDetail,
    FacilityFacts,
)
from devices.ingest.queue import BridgeEvent
from devices.models.device import DeviceState, Placement
from devices.models.facility import FacilityKind
from devices.protocol.codes import LogLevel
from devices.quantities import QUANTITIES
from devices.telemetry.status import Event, LogLine
from portal.charts import live as charts
from portal.charts.theme import templates
from portal.charts.window import MAX_DEVICES, WINDOW, describe_device
from portal.enterprise.park.tables import compared
from portal.units import Reading, percent, readable

_TOTAL_KEY: Final = "chart-total"
_LEVEL_TONES: Final = {LogLevel.WARNING: "warn", LogLevel.ERROR: "bad", LogLevel.CRITICAL: "bad"}


@dataclass(frozen=True, slots=True)
class Tile:
    """A figure with its label and perhaps a line below; `tone` is empty, good, warn or bad."""

    label: str
    value: Reading
    note: str = ""
    tone: str = ""


def overview_tiles(park: ParkNow) -> tuple[Tile, ...]:
    """The figures of the whole park."""
    return (
        _power_tile(park),
        Tile(
            _("Used today"),
            readable(park.energy_wh, "Wh"),
            compared(park.energy_wh, park.energy_same_wh),
        ),
        _offline_tile(park),
        Tile(
            _("Complete today"),
            Reading(percent(park.coverage, decimals=1), ""),
            _("of the readings expected since midnight") if park.coverage is not None else "",
            _tone(park.coverage),
        ),
    )


def _power_tile(park: ParkNow) -> Tile:
    if park.reporting < park.facilities:
        note = _("%(reporting)s of %(facilities)s facilities report") % {
            "reporting": park.reporting, "facilities": park.facilities,
        }  # fmt: skip
    elif park.generation_w:
        note = _("%(power)s generated on site") % {"power": readable(park.generation_w, "W")}
    else:
        note = ""
    return Tile(_("Power now"), readable(park.power_w, "W"), note)


def _offline_tile(park: ParkNow) -> Tile:
    offline = park.devices - park.online
    return Tile(
        _("Devices offline"),
        Reading(number_format(offline, force_grouping=True), ""),
        _("of %(devices)s") % {"devices": number_format(park.devices, force_grouping=True)},
        ("bad" if offline == park.devices else "warn")
        if offline
        else "good"
        if park.devices
        else "",
    )


def _tone(coverage: float | None) -> str:
    if coverage is None:
        return ""
    return "good" if coverage >= COMPLETE else "warn" if coverage >= COMPLETE / 2 else "bad"


def facility(detail: FacilityDetail) -> dict[str, Any]:
    """The context of a facility's page."""
    shown = detail.devices[:MAX_DEVICES]
    total = _total(shown)
    figures = [*([total] if total else []), *charts.chart_per_quantity(_lines(shown))]
    return {
        "facility": _facility(detail.facility),
        "devices": [_device(device) for device in detail.devices],
        "online": sum(device.connected for device in shown),
        "total": total.key if total else None,
        "charts": figures,
        "page": _live({"facility": detail.facility.facility_id}, detail.facility, shown, figures),
    }


def device(detail: DeviceDetail, *, show_log: bool) -> dict[str, Any]:
    """The context of a device's page."""
    facts = detail.device
    lines = [
        (channel.quantity, channel.unit, _line(facts, channel, _part(channel) or channel.name))
        for channel in facts.channels
    ]
    figures = charts.chart_per_quantity(lines)
    step = timedelta(milliseconds=facts.step_ms)
    offset = facts.link.clock_offset_ms if facts.link else None
    return {
        "facility": _facility(detail.facility),
        "device": _device(facts)
        | {
            "state": DeviceState(facts.state).label,
            "serial": facts.serial,
            "hardware_revision": facts.hardware_revision,
            "step": _duration(step),
            "interval": _duration(step * facts.samples),
            "clock_offset": None if offset is None else f"{offset / 1000:+.3f} s",
        },
        "channels": [
            {
                "number": channel.number,
                "name": channel.name,
                "resolution": f"{channel.resolution.normalize():f} {_unit(channel.unit)}",
            }
            for channel in facts.channels
        ],
        "charts": figures,
        "events": [_event(event) for event in detail.events],
        "show_log": show_log,
        "log": [_log_line(line) for line in detail.log] if show_log else [],
        "page": _live({"device": facts.device_id}, detail.facility, [facts], figures),
    }


def _facility(facts: FacilityFacts) -> dict[str, Any]:
    return {
        "pk": facts.facility_id,
        "name": facts.name,
        "kind": FacilityKind(facts.kind).label,
        "address": facts.address,
        "zone": facts.time_zone,
    }


def _device(facts: DeviceFacts) -> dict[str, Any]:
    power = [c for c in facts.channels if c.quantity == "active_power" and c.in_total]
    return {
        "pk": facts.device_id,
        "name": facts.name,
        "type_name": facts.device_type,
        "placement": Placement(facts.placement).label,
        "connected": facts.connected,
        "firmware_version": facts.link.firmware_version if facts.link else "",
        "power": " ".join(f"{facts.device_id}/{channel.number}" for channel in power),
    }


def _total(devices: Sequence[DeviceFacts]) -> charts.Chart | None:
    """The facility's total active power: what its mains devices count in; None without any.

    Sub-meters, generators and batteries lie behind the mains and are contained in it already.
    """
    counted = [
        (device, channel)
        for device in devices
        if device.counts_in_total
        for channel in device.channels
        if channel.in_total and channel.quantity == "active_power"
    ]
    if not counted:
        return None
    line = charts.Line(
        name=_("Total"),
        sources=tuple(
            charts.Source(device.device_id, channel.number) for device, channel in counted
        ),
        resolution=float(min(channel.resolution for _device, channel in counted)),
    )
    return charts.Chart(
        key=_TOTAL_KEY,
        title=_("Total power"),
        quantity="active_power",
        unit="W",
        lines=(line,),
        wide=True,
        legend=False,
    )


def _lines(devices: Sequence[DeviceFacts]) -> Iterator[tuple[str, str, charts.Line]]:
    """A line for each channel; of phases and their sum, the sum alone is drawn from the start."""
    for facts in devices:
        for channel in facts.channels:
            alike = [other for other in facts.channels if other.quantity == channel.quantity]
            part = _part(channel) if len(alike) > 1 else ""
            name = f"{facts.name} · {part}" if part else facts.name
            secondary = _is_phase(channel) and any(other.in_total for other in alike)
            yield channel.quantity, channel.unit, _line(facts, channel, name, secondary=secondary)


def _is_phase(channel: ChannelFacts) -> bool:
    return channel.key.endswith(("_l1", "_l2", "_l3")) and not channel.in_total


def _part(channel: ChannelFacts) -> str:
    """What the name of a channel says beyond its quantity: `L1` of `Voltage L1`."""
    return channel.name.removeprefix(QUANTITIES[channel.quantity].name).strip(" ,")


def _line(
    facts: DeviceFacts, channel: ChannelFacts, name: str, *, secondary: bool = False
) -> charts.Line:
    source = charts.Source(facts.device_id, channel.number)
    return charts.Line(name, (source,), float(channel.resolution), secondary=secondary)


def _event(event: Event) -> dict[str, Any]:
    titles = {
        BridgeEvent.CONNECTED: (_("Connected"), "good"),
        BridgeEvent.DISCONNECTED: (_("Disconnected"), "warn"),
        BridgeEvent.REFUSED: (_("Refused"), "bad"),
    }
    title, tone = titles.get(event.kind, (event.kind, ""))  # type: ignore[call-overload]
    if event.kind == BridgeEvent.CONNECTED:
        version = event.data.get("firmware_version", "")
        text = _("Firmware %(version)s") % {"version": version} if version else ""
    elif "text" in event.data:
        text = str(event.data["text"])
    else:
        text = ", ".join(f"{key} {value}" for key, value in event.data.items())
    return {"occurred_at": event.occurred_at, "title": title, "tone": tone, "text": text}


def _log_line(line: LogLine) -> dict[str, Any]:
    try:
        level = LogLevel(line.level)
    except ValueError:  # a newer firmware's level
        return {"logged_at": line.logged_at, "level": line.level, "tone": "", "line": line.line}
    return {
        "logged_at": line.logged_at,
        "level": level.name.capitalize(),
        "tone": _LEVEL_TONES.get(level, ""),
        "line": line.line,
    }


def _unit(unit: str) -> str:
    return "" if unit == "1" else unit


def _duration(length: timedelta) -> str:
    seconds = length.total_seconds()
    if seconds < 120:
        return _("%(seconds)g s") % {"seconds": seconds}
    return _("%(minutes)g min") % {"minutes": round(seconds / 60, 1)}


def _live(
    target: dict[str, int],
    facts: FacilityFacts,
    devices: Sequence[DeviceFacts],
    figures: Sequence[charts.Chart],
) -> dict[str, Any]:
    """What `static/js/wattline/live.js` reads from the page, ready for JSON."""
    return {
        "target": target,
        "zone": facts.time_zone,
        "window_ms": WINDOW // timedelta(milliseconds=1),
        "devices": [describe_device(device) for device in devices],
        "charts": [charts.browser_spec(figure) for figure in figures],
        "templates": templates(),
        "strings": {
            "connecting": _("Connecting"),
            "live": _("Live"),
            "offline": _("Reconnecting"),
            "ended": _("Ended"),
            "online": _("Online"),
            "link_offline": _("Offline"),
            "seconds_ago": _("%s s ago"),
            "minutes_ago": _("%s min ago"),
            "hours_ago": _("%s h ago"),
            "late": _("%s frames came late"),
            "outdated": _("The devices of this page have changed."),
            "signed_out": _("You have been signed out."),
            "not_allowed": _("Your access to this page has ended."),
        },
    }
