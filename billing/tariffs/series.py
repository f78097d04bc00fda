"""Energy priced by a series, and reactive energy."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Context, Decimal
from fractions import Fraction
from functools import lru_cache
from math import isqrt

import numpy as np
from numpy.typing import NDArray

from billing.tariffs.calendar import CoverageError, local_time
from billing.tariffs.metering import Grid, Metered, added_up
from billing.tariffs.parts import Dynamic, Flow, PowerFactor
from billing.tariffs.pieces import Piece, RatingError
from billing.tariffs.sentences import sentence
from billing.tariffs.sheet import Sheet, decimal, fraction, kwh
from billing.tariffs.values import MILLIWH_PER_KWH, Int64s, Prices

_WIDE = Context(prec=80)
_FOUR = Decimal("0.0001")


def energy_of(component: Dynamic, grid: Grid) -> Int64s:
    """The energy (mWh) that a component prices, by interval; net may be negative."""
    if component.flow is Flow.NET:
        return grid.energy[Flow.IMPORT] - grid.energy[Flow.EXPORT]
    return grid.energy[component.flow]


def slots(component: Dynamic, prices: Prices, grid: Grid, piece: Piece) -> NDArray[np.intp]:
    """For each interval of a piece the index of its price. Raises CoverageError for the first that
    has none, and RatingError for a series that is finer than the tariff's intervals.
    """
    if prices.step_s % grid.step_s:
        raise RatingError(
            sentence(
                "The prices “%(series)s” change every %(step)s minutes, within the"
                " %(interval)s minutes that the tariff goes by.",
                series=component.series,
                step=prices.step_s // 60,
                interval=grid.step_s // 60,
            )
        )
    wanted = grid.starts - grid.starts % prices.step_s
    found = np.searchsorted(prices.starts, wanted)
    if len(prices.starts):
        missing = prices.starts[np.minimum(found, len(prices.starts) - 1)] != wanted
    else:
        missing = np.ones(len(wanted), bool)
    if missing.any():
        at = local_time(int(grid.starts[np.flatnonzero(missing)[0]]), piece.zone)
        what = sentence("no price in the series “%(series)s”", series=component.series)
        raise CoverageError(component.name, at, what)
    return found


def series_of(component: Dynamic, context: Mapping[str, Prices]) -> Prices:
    """The series a component names. Raises RatingError where it is not there."""
    if component.series not in context:
        raise RatingError(sentence("There are no prices “%(series)s”.", series=component.series))
    return context[component.series]


@lru_cache(maxsize=64)
def asked(component: Dynamic, prices: Prices) -> tuple[Decimal, ...]:
    """What a kWh costs in each slot of a series, exact."""
    made = [
        _WIDE.add(_WIDE.multiply(component.factor, price), component.adder)
        for price in prices.prices
    ]
    floor = component.floor
    return tuple(made if floor is None else [max(price, floor) for price in made])


@lru_cache(maxsize=64)
def _scaled(component: Dynamic, prices: Prices) -> tuple[tuple[int, ...], int]:
    """The same as integers, over the power of ten that makes them so."""
    wide = asked(component, prices)
    places = max((-int(price.as_tuple().exponent) for price in wide), default=0)
    scale = 10 ** max(places, 0)
    return tuple(int(_WIDE.multiply(price, Decimal(scale))) for price in wide), scale


def dynamic(component: Dynamic, sheet: Sheet, metered: Metered, prices: Prices) -> None:
    """One line: each interval at its own price."""
    energy = energy_of(component, metered.grid)
    if not energy.any():
        return
    found = slots(component, prices, metered.grid, sheet.piece)
    by_slot = added_up(found, energy, len(prices.starts)).tolist()
    whole, scale = _scaled(component, prices)
    cost = Fraction(
        sum(milliwh * price for milliwh, price in zip(by_slot, whole, strict=True)),
        MILLIWH_PER_KWH * scale,
    )
    total = int(energy.sum())
    mean = {"mean_price": str(decimal(cost * MILLIWH_PER_KWH / total))} if total else {}
    sheet.add(
        component,
        -cost if component.flow is Flow.EXPORT else cost,
        quantity=kwh(total),
        unit="kWh",
        estimated=kwh(_guessed(component, metered.grid, abs(total))),
        detail=mean,
    )


def _guessed(component: Dynamic, grid: Grid, total: int) -> int:
    """What of the energy is estimated; of net energy at most, from what was so either way."""
    if grid.estimated is None:
        return 0
    if component.flow is not Flow.NET:
        return int(grid.estimated[component.flow].sum())
    return min(total, sum(int(column.sum()) for column in grid.estimated.values()))


def power_factor(component: PowerFactor, sheet: Sheet, metered: Metered) -> None:
    """A surcharge where the power factor of the piece is below the target."""
    if metered.grid.reactive is None:
        raise RatingError(
            sentence(
                "The component “%(name)s” needs reactive energy, which is not measured here.",
                name=component.name,
            )
        )
    active = int(metered.grid.energy[Flow.IMPORT].sum())
    reactive = max(int(metered.grid.reactive.sum()), 0)
    if active <= 0:
        return
    factor = factor_of(active, reactive)
    detail = {"power_factor": str(factor), "target": str(component.target)}
    if component.per_kvarh is not None:
        excess = reactive - allowed(active, component.target)
        if excess > 0:
            sheet.add(
                component,
                fraction(component.per_kvarh) * Fraction(excess, MILLIWH_PER_KWH),
                quantity=kwh(excess),
                unit="kvarh",
                price=component.per_kvarh,
                detail=detail,
            )
        return
    if factor >= component.target:
        return
    if component.percent is not None and component.step is not None:
        many = Fraction((component.target - factor) // component.step)
        part = many * fraction(component.percent) / 100
    else:
        part = fraction(component.target) / fraction(max(factor, _FOUR)) - 1
    base = sheet.of(component.of)
    if base and part:
        detail |= {"base": str(decimal(base))}
        quantity = decimal(part * 100)
        sheet.add(component, base * part, quantity=quantity, unit="%", detail=detail)


def factor_of(active: int, reactive: int) -> Decimal:
    """The power factor of energies, to four places, half up."""
    apparent = _WIDE.sqrt(Decimal(active * active + reactive * reactive))
    return _WIDE.divide(Decimal(active), apparent).quantize(_FOUR, ROUND_HALF_UP)


def allowed(active: int, target: Decimal) -> int:
    """The reactive energy at which the power factor is just the target, in whole mvarh, rounded
    down.
    """
    square = fraction(target) ** 2
    return isqrt(active * active * (square.denominator - square.numerator) // square.numerator)
