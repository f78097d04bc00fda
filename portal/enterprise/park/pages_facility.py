"""What the page of a facility shows, prepared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from django.urls import reverse
from django.utils.translation import gettext as _

from devices.domain.flow import PowerNow
from devices.domain.overview import COMPLETE
from devices.domain.queries import ChannelFacts, DeviceFacts
from devices.domain.sites import LoadNow, Site
from devices.models import LoadCategory, Placement
from portal.charts import day as day_chart
from portal.charts import live as charts
from portal.charts import past
from portal.charts.window import MAX_DEVICES
from portal.enterprise.park import words
from portal.enterprise.park.figures import completeness, readable
from portal.enterprise.park.tiles import facility_tiles

_TOTAL_KEY: Final = "chart-total"
# Below this many watts nothing flows that is worth an arrow.
_STILL_W: Final = 5.0


def facility(site: Site) -> dict[str, Any]:
    """The context of a facility's page."""
    detail = site.detail
    shown = detail.devices[:MAX_DEVICES]
    total = _total(shown)
    figures = [*([total] if total else []), *charts.chart_per_quantity(_lines(shown))]
    day = day_chart.day_spec(site.quarters, begins_at=site.begins_at, ends_at=site.ends_at)
    key = detail.facility.facility_id
    back = past.words(address=reverse("facility-history", args=[key]), title=detail.facility.name)
    page = words.live({"facility": key}, detail.facility, shown, figures, back)
    return {
        "facility": words.facility(detail.facility),
        "devices": [words.device(device) for device in detail.devices],
        "online": sum(device.connected for device in shown),
        "total": total.key if total else None,
        "power": readable(site.power.grid_w, "W"),
        "flow": _flow(shown, site.power),
        "tiles": facility_tiles(site),
        "day": day,
        "charts": figures,
        "presets": past.presets().items(),
        "loads": [_load(load) for load in site.loads],
        "page": page | {"day": day},
    }


def _flow(devices: Sequence[DeviceFacts], power: PowerNow) -> list[dict[str, Any]]:
    """The nodes of the flow of power; empty where there is nothing but the mains.

    `keys` are the channels of a node's power; positive is towards the centre, except for the home.
    """
    mains = _of(devices, Placement.MAINS)
    made = _of(devices, Placement.GENERATION)
    stored = _of(devices, Placement.STORAGE)
    if not mains or not (made or stored):
        return []
    grid, generation = words.power_keys(mains), words.power_keys(made)
    storage, taken = words.power_keys(stored), words.power_keys(stored, "-")
    home = " ".join(filter(None, (grid, generation, taken)))
    nodes = [
        _node("grid", _("Grid"), "plug", grid, power.grid_w, (_("drawing"), _("feeding in"))),
        _node("home", _("Loads"), "home", home, power.home_w, (_("using"), "")),
    ]
    if made:
        nodes.append(
            _node(
                "generation", _("Generation"), "solar-panel", generation, power.generation_w,
                (_("generating"), ""),
            )
        )  # fmt: skip
    if stored:
        nodes.append(
            _node(
                "storage", _("Battery"), "battery-3", storage, power.storage_w,
                (_("charging"), _("discharging")),
            )
        )  # fmt: skip
    return nodes


def _of(devices: Sequence[DeviceFacts], placement: Placement) -> list[DeviceFacts]:
    return [device for device in devices if device.placement == placement]


def _node(
    key: str, label: str, icon: str, keys: str, watts: float | None, words_of: tuple[str, str]
) -> dict[str, Any]:
    """`words_of`: what a positive and what a negative power is called."""
    direction = "none"
    if watts is not None and abs(watts) > _STILL_W:
        direction = "plus" if watts > 0 else "minus"
    return {
        "key": key,
        "label": label,
        "icon": icon,
        "keys": keys,
        "value": readable(None if watts is None else abs(watts), "W"),
        "direction": direction,
        "plus": words_of[0],
        "minus": words_of[1],
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
        title=_("Power at the mains"),
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
            part = words.part(channel) if len(alike) > 1 else ""
            name = f"{facts.name} · {part}" if part else facts.name
            secondary = _is_phase(channel) and any(other.in_total for other in alike)
            line = words.line(facts, channel, name, secondary=secondary)
            yield channel.quantity, channel.unit, line


def _is_phase(channel: ChannelFacts) -> bool:
    return channel.key.endswith(("_l1", "_l2", "_l3")) and not channel.in_total


def _load(load: LoadNow) -> dict[str, Any]:
    gaps = load.coverage is not None and load.coverage < COMPLETE
    return {
        "name": load.name,
        "category": LoadCategory(load.category).label,
        "device_pk": load.device_id,
        "device": load.device,
        "energy": str(readable(load.energy_wh, "Wh")),
        "measured": _("%(share)s measured") % {"share": completeness(load.coverage)}
        if gaps
        else "",
    }
