"""The figures at the head of the overview and of a facility."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.translation import gettext as _

from devices.domain.overview import COMPLETE, ParkNow
from devices.domain.sites import Site
from portal.enterprise.park.figures import Reading, compared, completeness, readable, whole
from portal.frame.quantities import percent


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
            _("Completeness today"),
            Reading(completeness(park.coverage, 1), ""),
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
        Reading(whole(offline), ""),
        _("of %(devices)s") % {"devices": whole(park.devices)},
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


def facility_tiles(site: Site) -> tuple[Tile, ...]:
    """The figures of a facility's day; its power stands before them, live."""
    today, same = site.day.today, site.day.same
    tiles = []
    if today.used_wh is not None or today.generated_wh is None:
        tiles.append(
            Tile(
                _("Used today"),
                readable(today.used_wh, "Wh"),
                compared(today.used_wh, same.used_wh),
            )
        )
    if today.generated_wh is not None:
        tiles.append(
            Tile(
                _("Generated today"),
                readable(today.generated_wh, "Wh"),
                compared(today.generated_wh, same.generated_wh),
            )
        )
    if today.self_used_wh is not None and today.used_wh:
        share = min(1.0, today.self_used_wh / today.used_wh)
        tiles.append(
            Tile(_("From own generation"), Reading(percent(share), ""), _to_the_grid(site))
        )
    tiles.append(
        Tile(
            _("Completeness today"),
            Reading(completeness(site.day.coverage, 1), ""),
            _("of the readings expected") if site.day.coverage is not None else "",
            _tone(site.day.coverage),
        )
    )
    return tuple(tiles)


def _to_the_grid(site: Site) -> str:
    exported = site.day.today.exported_wh
    if not exported:
        return ""
    return _("%(energy)s to the grid") % {"energy": readable(exported, "Wh")}
