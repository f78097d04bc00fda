"""What the templates of the consumer view show, prepared: figures, sentences, a chart."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from django.urls import reverse
from django.utils import translation
from django.utils.translation import gettext as _

from devices.domain.energy import DayEnergy, Energy, Quarter
from devices.domain.home import FLOWS, Home
from devices.domain.queries import DeviceFacts
from portal.charts.window import WINDOW
from portal.consumer import figures
from portal.consumer.chart import day_chart
from portal.consumer.sessions import Visit, tag_of

# A reading is of now until its device has missed two frames, and for this long in any case.
_KNOWN_FOR: Final = timedelta(minutes=3)
_MISSED: Final = 2.5
# What the page's script imports, so that the browser need not find out one after the other.
_MODULES: Final = (
    "js/consumer/flow.js",
    "js/consumer/format.js",
    "js/consumer/keeping.js",
    "js/consumer/readings.js",
    "js/consumer/worker.js",
    "js/wattline/clock.js",
    "js/wattline/connection.js",
    "js/wattline/protocol.js",
    "js/wattline/records.js",
)
# Below this much a difference to yesterday is none: meters are not better.
_ALIKE: Final = 0.03


def person(visit: Visit) -> dict[str, Any]:
    """Who looks: for the head of every page."""
    return {"person": visit.contents.name, "tag": tag_of(visit.session.sid)}


def home(found: Home, visit: Visit, *, now: datetime) -> dict[str, Any]:
    """The context of the page of one facility."""
    parts = [name for name in FLOWS if found.sources(name)]
    facility = found.facility
    return {
        **person(visit),
        **today(found),
        "facility": {"pk": facility.facility_id, "name": facility.name},
        "places": [
            {
                "name": place.name,
                "address": reverse("consumer:facility", args=[place.facility_id]),
                "current": place.facility_id == facility.facility_id,
            }
            for place in found.places
        ],
        "flow": _flow(parts),
        "modules": _MODULES,
        "measured": "grid" in parts,
        "connected": any(device.connected for device in found.devices),
        "page": _page(found, visit, parts, now=now),
    }


def today(found: Home) -> dict[str, Any]:
    """The context of the part about today's energy."""
    day = found.day
    return {
        "facility": {"pk": found.facility.facility_id, "name": found.facility.name},
        "used": _optional(day.today.used_wh),
        "comparison": _comparison(day),
        "shares": _shares(day.today),
        "coverage": _coverage(day),
        "chart": day_chart(found),
        "hours": _hours(found.quarters, found.facility.time_zone),
        "yesterday": _optional(day.yesterday.used_wh),
    }


def _optional(watt_hours: float | None) -> figures.Figure | None:
    return None if watt_hours is None else figures.energy(watt_hours)


def _comparison(day: DayEnergy) -> dict[str, str] | None:
    """Today's use against yesterday's at the same time, in words; None without both."""
    used, before = day.today.used_wh, day.same.used_wh
    if used is None or before is None:
        return None
    values = {
        "difference": str(figures.energy(abs(used - before))),
        "before": str(figures.energy(before)),
    }
    if abs(used - before) <= _ALIKE * max(abs(before), 1.0):
        return {
            "tone": "same",
            "text": _("About as much as yesterday at this time (%(before)s).") % values,
        }
    if before > 0:
        values["share"] = f"{abs(used - before) / before:.0%}".replace("%", "\N{NO-BREAK SPACE}%")
        more = _("%(difference)s (%(share)s) more than yesterday at this time.")
        less = _("%(difference)s (%(share)s) less than yesterday at this time.")
    else:
        more = _("%(difference)s more than yesterday at this time.")
        less = _("%(difference)s less than yesterday at this time.")
    if used > before:
        return {"tone": "more", "text": more % values}
    return {"tone": "less", "text": less % values}


def _shares(energy: Energy) -> list[dict[str, Any]]:
    """Where today's energy came from and went, as far as it is measured."""
    rows = (
        ("grid", _("Drawn from the grid"), energy.imported_wh),
        ("grid-out", _("Fed into the grid"), energy.exported_wh),
        ("generation", _("Produced"), energy.generated_wh),
        ("storage", _("Charged"), energy.charge_wh),
        ("storage-out", _("Discharged"), energy.discharge_wh),
    )
    return [
        {"key": key, "label": label, "figure": figures.energy(value)}
        for key, label, value in rows
        if value is not None
    ]


def _coverage(day: DayEnergy) -> str | None:
    """A sentence when much of today was not measured."""
    if day.coverage is None or day.coverage >= 0.97:
        return None
    return _(
        "%(share)s of today has been measured so far: the rest is missing in these figures."
    ) % {"share": f"{day.coverage:.0%}".replace("%", "\N{NO-BREAK SPACE}%")}


def _hours(quarters: Iterable[Quarter], zone: str) -> list[dict[str, Any]]:
    """Today's use by hour, for those who read rather than look."""
    sums: dict[datetime, float] = {}
    for quarter in quarters:
        if (used := quarter.energy.used_wh) is not None:
            hour = quarter.starts_at.replace(minute=0)
            sums[hour] = sums.get(hour, 0.0) + used
    local = ZoneInfo(zone)
    return [
        {"hour": hour.astimezone(local).strftime("%H:%M"), "figure": figures.energy(value)}
        for hour, value in sorted(sums.items())
    ]


# --- the flow ----------------------------------------------------------------------------

# Where each node lies, and its picture in `templates/consumer/icons.html`.
_NODES: Final = {
    "generation": (180, 56, "sun"),
    "grid": (58, 178, "grid"),
    "home": (302, 178, "home"),
    "storage": (180, 300, "battery"),
}
_HUB: Final = (180, 178)
_RADIUS: Final = 50


def _flow(parts: Sequence[str]) -> dict[str, Any]:
    """The picture: a node for each part that exists, each with a line to the middle."""
    labels = {
        "generation": _("Solar"),
        "grid": _("Grid"),
        "home": _("Home"),
        "storage": _("Battery"),
    }
    shown = [name for name in _NODES if name in {*parts, "home"}]
    top = 0 if "generation" in shown else 122
    bottom = 356 if "storage" in shown else 234
    return {
        "box": f"0 {top} 360 {bottom - top}",
        "hub": _HUB,
        "radius": _RADIUS,
        "nodes": [
            {
                "key": name,
                "label": labels[name],
                "line": _line(x, y),
                "x": x,
                "y": y,
                "icon": icon,
            }
            for name, (x, y, icon) in _NODES.items()
            if name in shown
        ],
    }


def _line(x: int, y: int) -> str:
    """From the edge of a node to the middle."""
    hub_x, hub_y = _HUB
    step_x, step_y = (hub_x > x) - (hub_x < x), (hub_y > y) - (hub_y < y)
    return f"M{x + step_x * _RADIUS} {y + step_y * _RADIUS}L{hub_x} {hub_y}"


# --- what the scripts need ---------------------------------------------------------------


def _page(found: Home, visit: Visit, parts: Sequence[str], *, now: datetime) -> dict[str, Any]:
    """What `static/js/consumer/home.js` reads from the page, ready for JSON."""
    power = found.power
    return {
        "facility": {"id": found.facility.facility_id, "name": found.facility.name},
        "zone": found.facility.time_zone,
        "language": translation.get_language() or "en",
        "tag": tag_of(visit.session.sid),
        "now_ms": int(now.timestamp() * 1000),
        "window_ms": WINDOW // timedelta(milliseconds=1),
        "addresses": {
            "socket": reverse("consumer:home") + "ws/live/",
            "today": reverse("consumer:today", args=[found.facility.facility_id]),
            "worker": reverse("consumer:service-worker"),
            "scope": reverse("consumer:home"),
        },
        "devices": [_device(device) for device in found.devices],
        "parts": {name: [list(source) for source in found.sources(name)] for name in parts},
        "power": None
        if power is None or power.measured_at is None
        else {
            "grid": power.grid_w,
            "generation": power.generation_w,
            "storage": power.storage_w,
            "measured_ms": int(power.measured_at.timestamp() * 1000),
        },
        "strings": _strings(),
    }


def _device(device: DeviceFacts) -> dict[str, Any]:
    frame = timedelta(milliseconds=device.step_ms * device.samples)
    return {
        "id": device.device_id,
        "connected": device.connected,
        "known_ms": max(_KNOWN_FOR, _MISSED * frame) // timedelta(milliseconds=1),
        "resolutions": {
            str(channel.number): float(channel.resolution)
            for channel in device.channels
            if channel.in_total and channel.quantity == "active_power"
        },
    }


def _strings() -> dict[str, str]:
    return {
        "connecting": _("Connecting"),
        "live": _("Live"),
        "offline": _("No connection. Trying again."),
        "ended": _("You have been signed out."),
        "not_allowed": _("Your access to this home has ended."),
        "waiting": _("Waiting for the first reading"),
        "now": _("Last reading just now"),
        "seconds": _("Last reading %s s ago"),
        "minutes": _("Last reading %s min ago"),
        "hours": _("Last reading %s h ago"),
        "days": _("Last reading %s days ago"),
        "silent": _("Your meter is not reporting at the moment."),
        "uses": _("Your home uses"),
        "used": _("Your home used, when it was last heard"),
        "from_grid": _("from the grid"),
        "to_grid": _("into the grid"),
        "producing": _("producing"),
        "charging": _("charging"),
        "discharging": _("discharging"),
        "idle": _("idle"),
        "using": _("in use"),
        "unknown": _("unknown"),
    }
