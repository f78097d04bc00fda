"""What a comparison of tariffs is asked with, and what of it is kept: values and their JSON.

Amounts and energies are text in JSON, so that they stay exact.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Final

from billing.dispatch.battery import Battery
from billing.dispatch.solar import Photovoltaics

# Why an agreement is not among what was added up.
ABSENT: Final = "absent"
PLACE: Final = "place"
PROBLEM: Final = "problem"


@dataclass(frozen=True, slots=True)
class Whose:
    """Which agreements: one, those of a customer, or all of the tenant; of a customer or tenant
    those that are billed in `currency`, if there are several.
    """

    agreement_id: int | None = None
    customer_id: int | None = None
    currency: str = ""


@dataclass(frozen=True, slots=True)
class Days:
    """The days [first, end)."""

    first: date
    end: date


def last_year(today: date) -> Days:
    """The twelve calendar months before the one of `today`."""
    end = today.replace(day=1)
    return Days(end.replace(year=end.year - 1), end)


@dataclass(frozen=True, slots=True)
class Panels:
    """Photovoltaics at the place of each agreement: kWp, degrees from level, from north over
    east. Raises SolarError for what cannot be.
    """

    kwp: float
    tilt: float = 30.0
    azimuth: float = 180.0

    def __post_init__(self) -> None:
        self.at(0.0, 0.0)

    def at(self, latitude: float, longitude: float) -> Photovoltaics:
        """These panels at a place, degrees north and east."""
        return Photovoltaics(self.kwp, latitude, longitude, self.tilt, self.azimuth)


@dataclass(frozen=True, slots=True)
class Question:
    """What else would have been: `tariff_ids` none means all; `draft_ids` are versions that are
    not published. `offered`: of the tariffs, those alone that customers may be told of.
    `lowest_peak`: the battery keeps the peak as low as it can.
    """

    tariff_ids: tuple[int, ...] = ()
    draft_ids: tuple[int, ...] = ()
    offered: bool = False
    panels: Panels | None = None
    battery: Battery | None = None
    lowest_peak: bool = False

    def kept(self) -> dict[str, Any]:
        """As JSON."""
        panels, battery = self.panels, self.battery
        return {
            "tariffs": list(self.tariff_ids),
            "drafts": list(self.draft_ids),
            "offered": self.offered,
            "panels": panels and [panels.kwp, panels.tilt, panels.azimuth],
            "battery": battery
            and [battery.capacity_kwh, battery.power_kw, battery.efficiency, battery.peak_kw],
            "lowest_peak": self.lowest_peak,
        }

    @classmethod
    def read(cls, kept: Mapping[str, Any]) -> Question:
        """What `kept` has written; of an empty mapping, all tariffs and nothing else."""
        panels, battery = kept.get("panels"), kept.get("battery")
        return cls(
            tuple(kept.get("tariffs", ())),
            tuple(kept.get("drafts", ())),
            bool(kept.get("offered", False)),
            Panels(*panels) if panels else None,
            Battery(*battery) if battery else None,
            bool(kept.get("lowest_peak", False)),
        )


@dataclass(frozen=True, slots=True)
class Total:
    """What `count` agreements cost by a tariff, in all and by the first days of months; or why that
    cannot be said. `version_id`: it is a draft.
    """

    tariff_id: int
    version_id: int | None
    name: str
    count: int = 0
    net: Decimal = Decimal(0)
    total: Decimal = Decimal(0)
    months: Mapping[date, Decimal] = field(default_factory=dict)
    problem: str = ""

    @property
    def key(self) -> tuple[int, int]:
        """Which candidate it is."""
        return self.tariff_id, self.version_id or 0

    def plus(self, other: Total) -> Total:
        """Both together; a problem of either remains one."""
        months = dict(self.months)
        for month, amount in other.months.items():
            months[month] = months.get(month, Decimal(0)) + amount
        return replace(
            self,
            count=self.count + other.count,
            net=self.net + other.net,
            total=self.total + other.total,
            months=months,
            problem=self.problem or other.problem,
        )

    def kept(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "tariff": self.tariff_id,
            "version": self.version_id,
            "name": self.name,
            "count": self.count,
            "net": str(self.net),
            "total": str(self.total),
            "months": {day.isoformat(): str(amount) for day, amount in self.months.items()},
            "problem": self.problem,
        }

    @classmethod
    def read(cls, kept: Mapping[str, Any]) -> Total:
        """What `kept` has written."""
        return cls(
            kept["tariff"],
            kept["version"],
            kept["name"],
            kept["count"],
            Decimal(kept["net"]),
            Decimal(kept["total"]),
            {date.fromisoformat(day): Decimal(text) for day, text in kept["months"].items()},
            kept["problem"],
        )


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An agreement that is not in the sums: `code` is ABSENT (it does not hold in the time), PLACE
    (the coordinates of its facility are missing) or PROBLEM, which `text` tells.
    """

    agreement_id: int
    number: str
    code: str
    text: str = ""


@dataclass(frozen=True, slots=True)
class Energies:
    """Energies in kWh: of the use that was billed, what of the measured one was estimated, what
    panels gave, and what went through batteries.
    """

    imported: Decimal = Decimal(0)
    exported: Decimal = Decimal(0)
    estimated: Decimal = Decimal(0)
    generated: Decimal = Decimal(0)
    loaded: Decimal = Decimal(0)
    unloaded: Decimal = Decimal(0)
    lost: Decimal = Decimal(0)
    left: Decimal = Decimal(0)

    def plus(self, other: Energies) -> Energies:
        """Both together."""
        names = self.__dataclass_fields__
        return Energies(**{name: getattr(self, name) + getattr(other, name) for name in names})


@dataclass(frozen=True, slots=True)
class Sums:
    """What has been added up: `count` agreements, by what they have (`current`, None as long as
    there is nothing) and by each candidate. `current_ids` are the tariffs that they have;
    `peak_kw` is the highest power drawn of one agreement, with the changes.
    """

    count: int = 0
    current: Total | None = None
    current_ids: frozenset[int] = frozenset()
    totals: tuple[Total, ...] = ()
    energies: Energies = Energies()
    missing: int = 0
    peak_kw: Decimal = Decimal(0)
    left_out: tuple[LeftOut, ...] = ()

    def plus(self, other: Sums) -> Sums:
        """Both together."""
        totals = {one.key: one for one in self.totals}
        for one in other.totals:
            totals[one.key] = totals[one.key].plus(one) if one.key in totals else one
        both = self.current and other.current and self.current.plus(other.current)
        return Sums(
            self.count + other.count,
            both or self.current or other.current,
            self.current_ids | other.current_ids,
            tuple(totals.values()),
            self.energies.plus(other.energies),
            self.missing + other.missing,
            max(self.peak_kw, other.peak_kw),
            (*self.left_out, *other.left_out),
        )

    def covered(self, first: date, end: date) -> tuple[date, date] | None:
        """What of the days [first, end) was computed, in whole months: an agreement may have begun
        later, or ended before. None where nothing was.
        """
        if self.current is None or not self.current.months:
            return None
        last = max(self.current.months)
        after = (last + timedelta(days=31)).replace(day=1)
        return max(first, min(self.current.months)), min(end, after)

    def ranked(self) -> tuple[Total, ...]:
        """The candidates that could be said for every agreement, the cheapest first, then those
        that could not, with their problem; one that is the tariff of some alone is left out.
        """
        whole = [one for one in self.totals if one.problem or one.count == self.count]
        return tuple(sorted(whole, key=lambda one: (bool(one.problem), one.total, one.name)))

    def kept(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "count": self.count,
            "current": self.current and self.current.kept(),
            "current_ids": sorted(self.current_ids),
            "totals": [one.kept() for one in self.totals],
            "energies": {
                name: str(getattr(self.energies, name)) for name in Energies.__dataclass_fields__
            },
            "missing": self.missing,
            "peak_kw": str(self.peak_kw),
            "left_out": [
                [one.agreement_id, one.number, one.code, one.text] for one in self.left_out
            ],
        }

    @classmethod
    def read(cls, kept: Mapping[str, Any]) -> Sums:
        """What `kept` has written; nothing yet of an empty mapping."""
        if not kept:
            return cls()
        return cls(
            kept["count"],
            Total.read(kept["current"]) if kept["current"] else None,
            frozenset(kept["current_ids"]),
            tuple(Total.read(one) for one in kept["totals"]),
            Energies(**{name: Decimal(text) for name, text in kept["energies"].items()}),
            kept["missing"],
            Decimal(kept["peak_kw"]),
            tuple(LeftOut(*one) for one in kept["left_out"]),
        )
