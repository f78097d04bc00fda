"""A tariff as people read it: components in sentences with their prices, schedules as maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from django.utils.dates import MONTHS
from django.utils.translation import gettext as _

from billing.tariffs import parts
from billing.tariffs.parts import Tariff
from portal.charts.schedule import ScheduleChart, schedule_chart
from portal.enterprise.billing import words
from portal.frame.quantities import exact, price


@dataclass(frozen=True, slots=True)
class ComponentText:
    """A component: what it is called, of which kind, in a sentence, and its prices by period."""

    label: str
    kind: str
    text: str
    prices: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Told:
    """What is said of a component beside its name."""

    text: str
    prices: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Summary:
    """A tariff, told."""

    name: str
    components: tuple[ComponentText, ...]
    schedules: tuple[ScheduleChart, ...]
    facts: tuple[str, ...] = field(default_factory=tuple)


def summary(tariff: Tariff) -> Summary:
    """What `enterprise/billing/summary.html` shows."""
    used = {
        one.schedule.name: one.schedule
        for one in tariff.components
        if isinstance(one, parts.Energy | parts.Demand | parts.Netting) and one.schedule
    }
    told = []
    for one in tariff.components:
        said = _told(one, tariff.currency)
        kind = str(words.LINE_KINDS[parts.kind_of(one).value])
        told.append(ComponentText(one.label, kind, said.text, said.prices))
    return Summary(
        name=tariff.name,
        components=tuple(told),
        schedules=tuple(schedule_chart(one) for one in used.values()),
        facts=tuple(_facts(tariff, list(used.values()))),
    )


def _facts(tariff: Tariff, schedules: Sequence[parts.Schedule]) -> list[str]:
    facts = [_("Intervals of %(minutes)d minutes") % {"minutes": tariff.interval_min}]
    holidays = sorted({name for one in schedules for name in one.holidays})
    if holidays:
        facts.append(_("Public holidays: %(regions)s") % {"regions": ", ".join(holidays)})
    rounding = tariff.rounding
    step = price(rounding.step, tariff.currency)
    if rounding.at is parts.At.LINE:
        facts.append(_("Each line is rounded to %(step)s") % {"step": step})
    else:
        facts.append(_("The sum is rounded to %(step)s") % {"step": step})
    return facts


def _told(component: parts.Component, currency: str) -> Told:
    match component:
        case parts.Standing():
            return Told(f"{price(component.amount, currency)} {_per(component.per)}")
        case parts.Energy():
            return _energy(component, currency)
        case parts.Dynamic():
            return _dynamic(component, currency)
        case parts.Demand():
            return _demand(component, currency)
        case parts.PowerFactor():
            return Told(_power_factor(component, currency))
        case parts.Netting():
            return _netting(component, currency)
        case parts.Minimum():
            text = _("At least %(amount)s %(per)s, of %(what)s.")
            amount = price(component.amount, currency)
            values = {"amount": amount, "per": _per(component.per), "what": _of(component.of)}
            return Told(text % values)
        case parts.Discount():
            return Told(_discount(component, currency))
        case parts.Levy():
            return Told(_levy(component, currency))
        case parts.Tax():
            return Told(_tax(component))


def _energy(component: parts.Energy, currency: str) -> Told:
    text = {
        parts.Flow.IMPORT: _("For each kWh drawn from the grid."),
        parts.Flow.EXPORT: _("Paid for each kWh given to the grid."),
        parts.Flow.NET: _("For each kWh that netting leaves."),
    }[component.flow]
    if any(len(one.tiers) > 1 for one in component.prices):
        text = f"{text} {_tiers(component.tiers)}"
    return Told(text, _prices(component.prices, currency, component.tiers.unit.value))


def _dynamic(component: parts.Dynamic, currency: str) -> Told:
    text = _("%(factor)s × the price of “%(series)s” + %(adder)s for each kWh.") % {
        "factor": exact(component.factor),
        "series": component.series,
        "adder": price(component.adder, currency),
    }
    if component.floor is not None:
        least = _("At least %(floor)s.") % {"floor": price(component.floor, currency)}
        text = f"{text} {least}"
    return Told(text)


def _demand(component: parts.Demand, currency: str) -> Told:
    said = [
        _("For each kW of the highest mean over %(minutes)d minutes, for a month.")
        % {"minutes": component.window_min}
    ]
    if component.minimum_kw:
        said.append(_("At least %(power)s kW.") % {"power": exact(component.minimum_kw)})
    ratchet = component.ratchet
    if ratchet is not None:
        percent = {"percent": exact(ratchet.percent), "months": ratchet.months}
        said.append(
            _("At least %(percent)s %% of the highest of the %(months)d months before.") % percent
        )
        if ratchet.of_months:
            months = ", ".join(str(MONTHS[one]) for one in ratchet.of_months)
            said.append(_("Of these only: %(months)s.") % {"months": months})
    return Told(" ".join(said), _prices(component.prices, currency, "kW"))


def _power_factor(component: parts.PowerFactor, currency: str) -> str:
    values = {"target": exact(component.target), "what": _of(component.of)}
    if component.per_kvarh is not None:
        text = _("%(price)s for each kvarh beyond what a power factor of %(target)s allows.")
        return text % {**values, "price": price(component.per_kvarh, currency)}
    if component.percent is not None and component.step is not None:
        percent = {"percent": exact(component.percent), "step": exact(component.step)}
        text = _("%(percent)s %% of %(what)s for each %(step)s below a power factor of %(target)s.")
        return text % {**values, **percent}
    return _("%(what)s, raised by the ratio of %(target)s to the power factor below it.") % values


def _netting(component: parts.Netting, currency: str) -> Told:
    within = {
        parts.Within.INTERVAL: _("Given and drawn energy are set against each other by interval."),
        parts.Within.PERIOD: _("Given and drawn energy of a month are set off by period."),
        parts.Within.MONTH: _("Given and drawn energy of a month are set against each other."),
    }[component.within]
    carry = {
        parts.Carry.MONEY: _("A surplus is paid for, and the money goes on to later months."),
        parts.Carry.ENERGY: _("A surplus goes on to later months as energy."),
        parts.Carry.NONE: _("A surplus is paid for at once."),
    }[component.carry]
    text = f"{within} {carry}"
    if component.settle_month:
        settled = _("What is left is settled in %(month)s.")
        text = f"{text} {settled % {'month': MONTHS[component.settle_month]}}"
    return Told(text, _prices(component.sell_prices, currency, "kWh"))


def _discount(component: parts.Discount, currency: str) -> str:
    what = {"what": _of(component.of)}
    if component.percent is not None:
        return _("%(percent)s %% less of %(what)s.") % {**what, "percent": exact(component.percent)}
    assert component.amount is not None
    amount = f"{price(component.amount, currency)} {_per(component.per)}"
    return _("%(amount)s less, of %(what)s.") % {**what, "amount": amount}


def _levy(component: parts.Levy, currency: str) -> str:
    if component.per_kwh is not None:
        amount = price(component.per_kwh, currency)
        return _("%(amount)s for each kWh drawn from the grid.") % {"amount": amount}
    assert component.percent is not None
    percent = {"percent": exact(component.percent), "what": _of(component.of)}
    return _("%(percent)s %% of %(what)s.") % percent


def _tax(component: parts.Tax) -> str:
    what = _("everything before it") if component.of_all else _of(component.of)
    percent = {"percent": exact(component.percent), "what": what}
    return _("%(percent)s %% of %(what)s.") % percent


def _of(names: Sequence[str]) -> str:
    return ", ".join(names) or _("everything before it")


def _per(per: parts.Per) -> str:
    return {
        parts.Per.DAY: _("per day"),
        parts.Per.MONTH: _("per month"),
        parts.Per.YEAR: _("per year"),
        parts.Per.KW_MONTH: _("per agreed kW and month"),
    }[per]


def _tiers(tiers: parts.Tiers) -> str:
    """How tiers fill."""
    per = {
        parts.Pool.DAY: _("Tiers are filled anew each day"),
        parts.Pool.AVERAGE_DAY: _("Tiers hold for a day on average of the month"),
        parts.Pool.MONTH: _("Tiers are filled anew each month"),
        parts.Pool.BILL: _("Tiers are filled anew with each bill"),
    }[tiers.per]
    shared = {
        parts.Shared.PROPORTIONAL: _("by the periods' parts of the energy"),
        parts.Shared.CHRONOLOGICAL: _("in the order of time"),
        parts.Shared.PER_PERIOD: _("for each period by itself"),
    }[tiers.shared]
    return f"{per}, {shared}."


def _prices(prices: Sequence[parts.Price], currency: str, unit: str) -> tuple[tuple[str, str], ...]:
    return tuple((one.period, _blocks(one.tiers, currency, unit)) for one in prices)


def _blocks(tiers: Sequence[parts.Tier], currency: str, unit: str) -> str:
    """The price, or the prices by tier."""
    if len(tiers) == 1:
        return price(tiers[0].price, currency)
    told = []
    for tier in tiers:
        amount = price(tier.price, currency)
        if tier.up_to is None:
            told.append(_("then %(price)s") % {"price": amount})
            continue
        limit = f"{exact(tier.up_to)}\N{NO-BREAK SPACE}{unit}"
        told.append(_("up to %(limit)s %(price)s") % {"limit": limit, "price": amount})
    return " · ".join(told)
