"""The rates of a URDB record: structures of tiers, and the months by hours that point into them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from billing.tariffs.importing import ENDLESS, CannotImportError, Fields, decimal_of, written
from billing.tariffs.importing_times import MINUTES, Calendar, Day, calendar_of, day_of
from billing.tariffs.sentences import sentence

Grid = list[list[Day]]

# The unit of a tier's `max`: over which time energy counts, and per what.
ENERGY_UNITS: Final = {
    "kwh": ("month", "kWh"),
    "kwh daily": ("average_day", "kWh"),
    "kwh/kw": ("month", "kWh/kW"),
    "kwh/kw daily": ("average_day", "kWh/kW"),
}


@dataclass(frozen=True, slots=True)
class RateTier:
    """A tier as URDB has it: its last kWh or kW (None: without end), and prices per kWh or kW."""

    up_to: Decimal | None
    price: Decimal
    sell: Decimal
    unit: str


class Rates:
    """The rates of one record. Raises CannotImportError where they do not fit together."""

    def __init__(self, fields: Fields, window_min: int) -> None:
        self.fields = fields
        self.window_min = window_min
        self.structures = {
            "energy": self._structure("energyratestructure"),
            "demand": self._structure("demandratestructure"),
            "flat_demand": self._structure("flatdemandstructure"),
        }
        self.grids: dict[str, Grid] = {}
        for name in ("energy", "demand"):
            if (grid := self._hours(name)) is not None:
                self.grids[name] = grid
        if (grid := self._months("flatdemandmonths", "flat_demand")) is not None:
            self.grids["flat_demand"] = grid
        self.fuel = self._fuel()

    def calendar(self, names: set[str]) -> Calendar:
        """The seasons and schedules that components of these schedules need."""
        return calendar_of({name: grid for name, grid in self.grids.items() if name in names})

    def components(self) -> list[dict[str, Any]]:
        """The components of energy, fuel, feed-in and demand, in this order."""
        made = [*self._energy(), *self._fuel_component(), *self._sold()]
        for name in ("flat_demand", "demand"):
            if any(tier.price for tiers in self._used(name).values() for tier in tiers):
                prices = {
                    period: [_tier(tier) for tier in tiers]
                    for period, tiers in self._used(name).items()
                }
                made.append(
                    {
                        "name": name,
                        "kind": "demand",
                        "window_min": self.window_min,
                        **self._priced(name, prices),
                    }
                )
        return made

    def _energy(self) -> list[dict[str, Any]]:
        used = self._used("energy")
        if not used:
            return []
        made: dict[str, Any] = {"name": "energy", "kind": "energy"}
        made |= self._priced(
            "energy", {period: [_tier(tier) for tier in tiers] for period, tiers in used.items()}
        )
        tiered = {name: tiers for name, tiers in used.items() if len(tiers) > 1}
        if not tiered:
            return [made]
        units = {tier.unit.lower() for tiers in tiered.values() for tier in tiers}
        where = self.fields.name("energyratestructure")
        if len(units) > 1:
            raise CannotImportError(
                where,
                sentence(
                    "has tiers in %(units)s; tiers count in one unit.",
                    units=" and ".join(sorted(units)),
                ),
            )
        (unit,) = units
        if unit not in ENERGY_UNITS:
            raise CannotImportError(
                where, sentence("has tiers in %(unit)s, which is no unit of energy.", unit=unit)
            )
        per, counted = ENERGY_UNITS[unit]
        made["tiers"] = {"per": per, "unit": counted, "shared": "proportional"}
        if counted == "kWh/kW":
            made["tiers"]["window_min"] = self.window_min
        if len(used) > 1:
            self.fields.note(
                "energyratestructure",
                sentence(
                    "does not say how periods fill tiers; each gets them in proportion to its"
                    " energy of the month, as with net metering in NREL's System Advisor Model."
                ),
            )
        return [made]

    def _sold(self) -> list[dict[str, Any]]:
        used = self._used("energy")
        if not any(tier.sell for tiers in used.values() for tier in tiers):
            return []
        for period, tiers in used.items():
            if len({tier.sell for tier in tiers}) > 1:
                raise CannotImportError(
                    self.fields.name("energyratestructure"),
                    sentence(
                        "%(period)s sells at a price by tier, and what is given fills no tier.",
                        period=period,
                    ),
                )
        prices = {period: [{"price": written(tiers[0].sell)}] for period, tiers in used.items()}
        return [
            {"name": "sold", "kind": "energy", "flow": "export", **self._priced("energy", prices)}
        ]

    def _fuel(self) -> dict[str, Decimal]:
        values = self._twelve("fueladjustmentsmonthly")
        if not any(values):
            return {}
        name = "fueladjustmentsmonthly"
        numbers = [
            self.fields.exact(decimal_of(one, self.fields.name(name)), name) for one in values
        ]
        names = [f"fuel_{1 + numbers.index(number)}" for number in numbers]
        self.grids["fuel"] = [_same_days(name) for name in names]
        return dict(zip(names, numbers, strict=True))

    def _fuel_component(self) -> list[dict[str, Any]]:
        if not self.fuel:
            return []
        prices = {name: [{"price": written(number)}] for name, number in self.fuel.items()}
        return [{"name": "fuel", "kind": "energy", **self._priced("fuel", prices)}]

    def _priced(self, grid: str, prices: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
        """Prices with the schedule they go by, if there is more than one period."""
        made = {
            period: tiers[0]["price"] if len(tiers) == 1 else tiers
            for period, tiers in prices.items()
        }
        if len(made) == 1:
            return {"prices": next(iter(made.values()))}
        return {"schedule": grid, "prices": made}

    def _used(self, name: str) -> dict[str, list[RateTier]]:
        """The tiers of each period that a month and hour points to, in order of the structure."""
        found = {
            period for week in self.grids.get(name, []) for day in week for _, _, period in day
        }
        return {
            f"period_{number}": tiers
            for number, tiers in enumerate(self.structures[name], 1)
            if f"period_{number}" in found
        }

    def _structure(self, name: str) -> list[list[RateTier]]:
        periods = self.fields.take(name, [])
        if not isinstance(periods, Sequence) or isinstance(periods, str):
            raise CannotImportError(self.fields.name(name), sentence("is no list of periods."))
        return [
            self._tiers(tiers, self.fields.name(f"{name}[{number}]"))
            for number, tiers in enumerate(periods)
        ]

    def _tiers(self, tiers: Any, path: str) -> list[RateTier]:
        if not isinstance(tiers, Sequence) or isinstance(tiers, str) or not tiers:
            raise CannotImportError(path, sentence("is no list of tiers."))
        made: list[RateTier] = []
        last = Decimal(0)
        for number, tier in enumerate(tiers):
            fields = Fields(tier, f"{path}[{number}]", self.fields.notes)
            up_to = fields.number("max", ENDLESS, endless=True)
            made.append(
                RateTier(
                    None if up_to >= ENDLESS else up_to,
                    fields.exact(
                        fields.number("rate", Decimal(0)) + fields.number("adj", Decimal(0)), "rate"
                    ),
                    fields.number("sell", Decimal(0)),
                    str(fields.take("unit", "kWh")),
                )
            )
            fields.finish()
            if (made[-1].up_to is None) != (number == len(tiers) - 1):
                raise CannotImportError(
                    fields.name("max"),
                    sentence("is missing before the last tier.")
                    if made[-1].up_to is None
                    else sentence(
                        "leaves what is above %(up_to)s without a price.", up_to=written(up_to)
                    ),
                )
            if up_to <= last:
                raise CannotImportError(
                    fields.name("max"),
                    sentence(
                        "is %(up_to)s, not above %(last)s.",
                        up_to=written(up_to),
                        last=written(last),
                    ),
                )
            last = up_to
        return made

    def _hours(self, name: str) -> Grid | None:
        """A grid out of the two schedules of 12 months by 24 hours."""
        week = self._schedule(f"{name}weekdayschedule", name)
        weekend = self._schedule(f"{name}weekendschedule", name)
        if week is None and weekend is None:
            if self.structures[name]:
                raise CannotImportError(
                    self.fields.name(f"{name}weekdayschedule"),
                    sentence(
                        "is missing, so that no hour has a price of %(name)sratestructure.",
                        name=name,
                    ),
                )
            return None
        if week is None or weekend is None:
            missing = "weekday" if week is None else "weekend"
            raise CannotImportError(
                self.fields.name(f"{name}{missing}schedule"), sentence("is missing.")
            )
        return [[day] * 5 + [end] * 2 for day, end in zip(week, weekend, strict=True)]

    def _schedule(self, name: str, structure: str) -> list[Day] | None:
        rows = self._twelve(name)
        if not rows:
            return None
        made = []
        for month, row in enumerate(rows):
            path = self.fields.name(f"{name}[{month}]")
            if not isinstance(row, Sequence) or isinstance(row, str) or len(row) != 24:
                raise CannotImportError(path, sentence("has not one period for each of 24 hours."))
            made.append(
                day_of(
                    (
                        (hour * 60, hour * 60 + 60, self._period(one, structure, path))
                        for hour, one in enumerate(row)
                    ),
                    path,
                )
            )
        return made

    def _months(self, name: str, structure: str) -> Grid | None:
        """A grid out of one period for each month; without any, the first holds all year."""
        path = self.fields.name(name)
        months = self._twelve(name)
        if not self.structures[structure]:
            return None
        if not months and len(self.structures[structure]) > 1:
            raise CannotImportError(
                path, sentence("is missing, so that no month has a flat demand rate.")
            )
        return [_same_days(self._period(one, structure, path)) for one in (months or [0] * 12)]

    def _period(self, value: Any, structure: str, path: str) -> str:
        number = decimal_of(value, path)
        if number not in range(len(self.structures[structure])):
            raise CannotImportError(
                path, sentence("points to period %(number)s, which has no rates.", number=number)
            )
        return f"period_{int(number) + 1}"

    def _twelve(self, name: str) -> Sequence[Any]:
        values = self.fields.take(name) or []
        if values and (
            not isinstance(values, Sequence) or isinstance(values, str) or len(values) != 12
        ):
            raise CannotImportError(
                self.fields.name(name), sentence("has not one value for each month.")
            )
        return list(values)


def _same_days(period: str) -> list[Day]:
    return [((0, MINUTES, period),)] * 7


def _tier(tier: RateTier) -> dict[str, Any]:
    made: dict[str, Any] = {} if tier.up_to is None else {"up_to": written(tier.up_to)}
    return made | {"price": written(tier.price)}
