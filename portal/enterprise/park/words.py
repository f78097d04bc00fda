"""What the pages of a facility and of a device have in common: devices, lines, the live part."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from typing import Any

from django.utils.translation import gettext as _

from devices.domain.queries import ChannelFacts, DeviceFacts, FacilityFacts
from devices.models.device import Placement
from devices.models.facility import FacilityKind
from devices.quantities import QUANTITIES
from portal.charts import live as charts
from portal.charts.theme import templates
from portal.charts.window import WINDOW, describe_device
from portal.frame.quantities import exact


def facility(facts: FacilityFacts) -> dict[str, Any]:
    """A facility as templates show it."""
    return {
        "pk": facts.facility_id,
        "name": facts.name,
        "kind": FacilityKind(facts.kind).label,
        "address": facts.address,
        "zone": facts.time_zone,
    }


def device(facts: DeviceFacts) -> dict[str, Any]:
    """A device as templates show it; `power` are the keys of its total power."""
    return {
        "pk": facts.device_id,
        "name": facts.name,
        "type_name": facts.device_type,
        "placement": Placement(facts.placement).label,
        "connected": facts.connected,
        "firmware_version": facts.link.firmware_version if facts.link else "",
        "power": power_keys([facts]),
    }


def power_keys(devices: Sequence[DeviceFacts], sign: str = "") -> str:
    """The channels of the total power of some devices, as `data-latest` takes them."""
    return " ".join(
        f"{sign}{facts.device_id}/{channel.number}"
        for facts in devices
        for channel in facts.channels
        if channel.quantity == "active_power" and channel.in_total
    )


def part(channel: ChannelFacts) -> str:
    """What the name of a channel says beyond its quantity: `L1` of `Voltage L1`."""
    return channel.name.removeprefix(QUANTITIES[channel.quantity].name).strip(" ,")


def line(
    facts: DeviceFacts, channel: ChannelFacts, name: str, *, secondary: bool = False
) -> charts.Line:
    """A line of a chart that shows one channel."""
    source = charts.Source(facts.device_id, channel.number)
    return charts.Line(
        name,
        (source,),
        float(channel.resolution),
        secondary=secondary,
        maximum=float(channel.maximum),
    )


def duration(length: timedelta) -> str:
    """A length of time in seconds or minutes."""
    seconds = Decimal(str(length.total_seconds()))
    if seconds < 120:
        return f"{exact(seconds)}\N{NO-BREAK SPACE}s"
    return f"{exact(round(seconds / 60, 1))}\N{NO-BREAK SPACE}min"


def live(
    target: dict[str, int],
    facts: FacilityFacts,
    devices: Sequence[DeviceFacts],
    figures: Sequence[charts.Chart],
    history: dict[str, Any],
) -> dict[str, Any]:
    """What `static/js/wattline/live.js` and, of the past, `static/js/history/main.js` read from the
    page, ready for JSON; `history` is what `portal.charts.past` says.
    """
    return {
        "target": target,
        "zone": facts.time_zone,
        "window_ms": WINDOW // timedelta(milliseconds=1),
        "devices": [describe_device(device) for device in devices],
        "charts": [charts.browser_spec(figure) for figure in figures],
        "templates": templates(),
        "history": history,
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
