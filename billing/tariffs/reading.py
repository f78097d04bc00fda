"""What the parts of a document mean together: names that point to others, times, tiers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from billing.tariffs import parts
from billing.tariffs.parts import Carry, Flow, Per, Price, Schedule, Tier, Within
from billing.tariffs.sentences import sentence
from billing.tariffs.shapes import Problems

Found = Mapping[str, Any]


@dataclass(slots=True)
class Reading:
    """A document half read: what its later parts may name, and its problems so far."""

    problems: Problems
    interval_min: int
    seasons: tuple[parts.Season, ...]
    holidays: tuple[str, ...]
    schedules: dict[str, Schedule] = field(default_factory=dict)
    components: list[parts.Component] = field(default_factory=list)
    names: set[str] = field(default_factory=set)

    def _wrong(self, path: str, sentence: str) -> None:
        self.problems.meaning.append((path, sentence))

    def schedule(self, name: str, found: list[Found]) -> None:
        """Reads a schedule's rules."""
        path = f"schedules.{name}"
        rules = tuple(self._rule(rule, f"{path}[{n}]") for n, rule in enumerate(found))
        said = repr((rules, self.seasons, self.holidays)).encode()
        self.schedules[name] = Schedule(
            name=name,
            rules=rules,
            periods=tuple(dict.fromkeys(rule.period for rule in rules)),
            seasons=self.seasons,
            holidays=self.holidays,
            key=hashlib.sha256(said).hexdigest(),
        )

    def _rule(self, found: Found, path: str) -> parts.Rule:
        start, end = _minute(found["from"] or "00:00"), _minute(found["to"] or "24:00")
        for key, minute in (("from", start), ("to", end)):
            if minute % self.interval_min:
                self._wrong(
                    f"{path}.{key}",
                    sentence(
                        "%(found)s is not at a multiple of %(interval_min)s minutes: give a"
                        " shorter interval_min, or another time.",
                        found=found[key],
                        interval_min=self.interval_min,
                    ),
                )
        if start >= end:
            self._wrong(
                path,
                sentence("It ends before it begins: write two rules for a time past midnight."),
            )
        known = {season.name for season in self.seasons}
        for n, season in enumerate(found["seasons"] or ()):
            if season not in known:
                self._wrong(
                    f"{path}.seasons[{n}]",
                    sentence("There is no season “%(season)s”.", season=season),
                )
        days = tuple(sorted({parts.DAYS.index(day) for day in found["days"] or ()}))
        if parts.HOLIDAY in days and not self.holidays:
            self._wrong(f"{path}.days", sentence("Say under holidays which days are holidays."))
        return parts.Rule(found["period"], tuple(found["seasons"] or ()), days, start, end)

    def component(self, found: Found, path: str) -> None:
        """Reads a component of any kind."""
        name = found["name"]
        if name in self.names:
            self._wrong(
                f"{path}.name", sentence("There is another component “%(name)s”.", name=name)
            )
        common = {"name": name, "label": found["label"] or _label(name)}
        component: parts.Component = getattr(self, f"_{found['kind']}")(found, path, common)
        self.components.append(component)
        self.names.add(name)

    def _standing(self, found: Found, _path: str, common: dict[str, str]) -> parts.Standing:
        return parts.Standing(**common, amount=found["amount"], per=Per(found["per"]))

    def _energy(self, found: Found, path: str, common: dict[str, str]) -> parts.Energy:
        schedule = self._schedule(found, path)
        tiers = self._tiers(found["tiers"] or {})
        flow = Flow(found["flow"] or Flow.IMPORT)
        prices = self._prices(found["prices"], schedule, f"{path}.prices")
        return parts.Energy(**common, flow=flow, schedule=schedule, prices=prices, tiers=tiers)

    def _tiers(self, found: Found) -> parts.Tiers:
        usual = parts.Tiers()
        pro_rated = found.get("pro_rated")
        return parts.Tiers(
            per=parts.Pool(found.get("per") or usual.per),
            unit=parts.LimitUnit(found.get("unit") or usual.unit),
            pro_rated=usual.pro_rated if pro_rated is None else pro_rated,
            shared=parts.Shared(found.get("shared") or usual.shared),
            window_min=found.get("window_min") or self.interval_min,
        )

    def finish(self) -> None:
        """What can only be told when all components are known."""
        netting = next((one for one in self.components if isinstance(one, parts.Netting)), None)
        for n, one in enumerate(self.components):
            if isinstance(one, parts.Energy) and one.flow is Flow.NET:
                self._net(one, netting, f"components[{n}]")

    def _net(self, energy: parts.Energy, netting: parts.Netting | None, path: str) -> None:
        if netting is None:
            self._wrong(f"{path}.flow", sentence("Net energy needs a component of kind netting."))
            return
        if netting.within is Within.PERIOD and netting.schedule != energy.schedule:
            self._wrong(
                f"{path}.schedule", sentence("The netting goes by the periods of another schedule.")
            )
        if not any(price.tiered for price in energy.prices):
            return
        tiers = energy.tiers
        if tiers.per in {parts.Pool.DAY, parts.Pool.BILL}:
            self._wrong(
                f"{path}.tiers.per", sentence("Net energy fills tiers per month or average_day.")
            )
        if tiers.shared is parts.Shared.CHRONOLOGICAL and (
            netting.within is not Within.INTERVAL or netting.carry is Carry.ENERGY
        ):
            self._wrong(
                f"{path}.tiers.shared",
                sentence(
                    "What is netted over more than an interval has no order in time: share the"
                    " tiers proportional or per_period."
                ),
            )

    def _dynamic(self, found: Found, _path: str, common: dict[str, str]) -> parts.Dynamic:
        factor = found["factor"]
        return parts.Dynamic(
            **common,
            flow=Flow(found["flow"] or Flow.IMPORT),
            series=found["series"],
            factor=Decimal(1) if factor is None else factor,
            adder=_or_nothing(found["adder"]),
            floor=found["floor"],
        )

    def _demand(self, found: Found, path: str, common: dict[str, str]) -> parts.Demand:
        schedule = self._schedule(found, path)
        ratchet = found["ratchet"]
        return parts.Demand(
            **common,
            window_min=found["window_min"] or 15,
            schedule=schedule,
            prices=self._prices(found["prices"], schedule, f"{path}.prices"),
            minimum_kw=_or_nothing(found["minimum_kw"]),
            ratchet=ratchet
            and parts.Ratchet(
                ratchet["percent"], ratchet["months"], tuple(ratchet["of_months"] or ())
            ),
        )

    def _power_factor(self, found: Found, path: str, common: dict[str, str]) -> parts.PowerFactor:
        surcharge: Found = {} if found["surcharge"] == "ratio" else found["surcharge"]
        given = {key for key, value in surcharge.items() if value is not None}
        if found["surcharge"] != "ratio" and given not in ({"percent", "step"}, {"per_kvarh"}):
            self._wrong(
                f"{path}.surcharge", sentence("Give percent and step, or per_kvarh, or “ratio”.")
            )
        if given != {"per_kvarh"} and found["of"] is None:
            self._wrong(
                f"{path}.of", sentence("Name the components that the surcharge is a part of.")
            )
        return parts.PowerFactor(
            **common,
            of=self._of(found, path),
            target=found["target"],
            percent=surcharge.get("percent"),
            step=surcharge.get("step"),
            per_kvarh=surcharge.get("per_kvarh"),
        )

    def _netting(self, found: Found, path: str, common: dict[str, str]) -> parts.Netting:
        schedule = self._schedule(found, path)
        within, carry = Within(found["within"]), Carry(found["carry"] or Carry.NONE)
        by_period = isinstance(found["sell_price"], Mapping)
        if any(isinstance(one, parts.Netting) for one in self.components):
            self._wrong(path, sentence("A tariff has one netting."))
        if within is Within.PERIOD and schedule is None:
            self._wrong(path, sentence("Netting within periods needs a schedule."))
        if by_period and (
            within is Within.MONTH or (within is Within.INTERVAL and carry is Carry.ENERGY)
        ):
            self._wrong(
                f"{path}.sell_price", sentence("This surplus belongs to no period: give one price.")
            )
        if found["settle_month"] is not None and carry is Carry.NONE:
            self._wrong(
                f"{path}.settle_month", sentence("Nothing is carried that could be settled.")
            )
        prices = self._prices(
            found["sell_price"], schedule if by_period else None, f"{path}.sell_price"
        )
        if by_period and schedule is not None and len(prices) < len(schedule.periods):
            self._wrong(f"{path}.sell_price", sentence("A period of the schedule has no price."))
        return parts.Netting(
            **common,
            within=within,
            schedule=schedule,
            carry=carry,
            settle_month=found["settle_month"],
            sell_prices=prices,
        )

    def _minimum(self, found: Found, path: str, common: dict[str, str]) -> parts.Minimum:
        return parts.Minimum(
            **common,
            of=self._of(found, path),
            amount=found["amount"],
            per=Per(found["per"] or Per.MONTH),
        )

    def _discount(self, found: Found, path: str, common: dict[str, str]) -> parts.Discount:
        return parts.Discount(
            **common,
            of=self._of(found, path),
            percent=found["percent"],
            amount=found["amount"],
            per=Per(found["per"] or Per.MONTH),
        )

    def _levy(self, found: Found, path: str, common: dict[str, str]) -> parts.Levy:
        if (found["percent"] is None) != (found["of"] is None):
            self._wrong(
                f"{path}.of", sentence("A levy in percent names components, one per kWh none.")
            )
        return parts.Levy(
            **common,
            of=self._of(found, path),
            percent=found["percent"],
            per_kwh=found["per_kWh"],
        )

    def _tax(self, found: Found, path: str, common: dict[str, str]) -> parts.Tax:
        return parts.Tax(
            **common,
            of=self._of(found, path),
            percent=found["percent"],
            of_all=found["of"] == "all",
        )

    def _of(self, component: Found, path: str) -> tuple[str, ...]:
        """The components named; all are those before, without taxes."""
        kind, found = component["kind"], component["of"]
        if found == "all":
            return tuple(one.name for one in self.components if not isinstance(one, parts.Tax))
        taxes = {one.name for one in self.components if isinstance(one, parts.Tax)}
        for n, name in enumerate(found or ()):
            if name in taxes and kind != "tax":
                self._wrong(
                    f"{path}.of[{n}]",
                    sentence("“%(name)s” is a tax: only taxes follow taxes.", name=name),
                )
            if name not in self.names:
                self._wrong(
                    f"{path}.of[{n}]",
                    sentence("There is no component “%(name)s” before this one.", name=name),
                )
        return tuple(dict.fromkeys(found or ()))

    def _schedule(self, found: Found, path: str) -> Schedule | None:
        name = found["schedule"]
        if name is not None and name not in self.schedules:
            self._wrong(f"{path}.schedule", sentence("There is no schedule “%(name)s”.", name=name))
        return self.schedules.get(name)

    def _prices(self, found: Any, schedule: Schedule | None, path: str) -> tuple[Price, ...]:
        if not isinstance(found, Mapping):
            if schedule is not None:
                # One price whatever the period: no schedule is needed for that.
                self._wrong(
                    path,
                    sentence("Give a price for each period of “%(name)s”.", name=schedule.name),
                )
            return (self._price("", found, path),)
        if schedule is None:
            self._wrong(path, sentence("Prices by period need a schedule."))
            return ()
        for period in found:
            if period not in schedule.periods:
                self._wrong(
                    f"{path}.{period}",
                    sentence("The schedule “%(name)s” has no such period.", name=schedule.name),
                )
        return tuple(
            self._price(period, found[period], f"{path}.{period}")
            for period in schedule.periods
            if period in found
        )

    def _price(self, period: str, found: Any, path: str) -> Price:
        if not isinstance(found, list):
            return Price(period, (Tier(None, found),), tiered=False)
        tiers = [Tier(tier["up_to"], tier["price"]) for tier in found]
        before = Decimal(0)
        for n, tier in enumerate(tiers[:-1]):
            if tier.up_to is None:
                self._wrong(f"{path}[{n}]", sentence("Only the last tier has no up_to."))
            elif n and tier.up_to <= before:
                self._wrong(f"{path}[{n}].up_to", sentence("It is not above the tier before."))
            else:
                before = tier.up_to
        if tiers[-1].up_to is not None:
            self._wrong(
                f"{path}[{len(tiers) - 1}]", sentence("The last tier has no up_to: it has no end.")
            )
        return Price(period, tuple(tiers), tiered=True)


def _minute(clock: str) -> int:
    hours, minutes = clock.split(":")
    return int(hours) * 60 + int(minutes)


def _label(name: str) -> str:
    return name.replace("_", " ").capitalize()


def _or_nothing(value: Decimal | None) -> Decimal:
    return Decimal(0) if value is None else value
