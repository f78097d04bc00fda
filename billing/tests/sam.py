"""Electricity bills of a year by NREL's System Advisor Model (PySAM, `Utilityrate5`).

Its year has 365 days and begins on a Monday, an hour is one value, days have 24 of them: compare in
2029 at a fixed offset. Periods share tiers in proportion to their energy of the month (metering
option 0); within a month all periods must have the same tiers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PySAM import Utilityrate5

HOURS = 8760
ENDLESS = 1e38
UNITS = {"kWh": 0, "kWh/kW": 1, "kWh daily": 2, "kWh/kW daily": 3}
PROPORTIONAL = 0
CHRONOLOGICAL = 2


@dataclass(frozen=True)
class Charges:
    """USD of each of 12 months, not rounded; `total` has fixed charge and minimum in it."""

    energy: tuple[float, ...]
    flat_demand: tuple[float, ...]
    demand: tuple[float, ...]
    fixed: tuple[float, ...]
    total: tuple[float, ...]


def charges(
    record: Mapping[str, Any],
    load: Sequence[float],
    *,
    option: int = PROPORTIONAL,
    generation: Sequence[float] | None = None,
) -> Charges:
    """What a URDB record costs for 8760 kWh. Only what random tariffs use is passed on. With what
    is generated behind the meter `energy` is that of net metering, paid out never.
    """
    model = Utilityrate5.new()
    model.Lifetime.analysis_period = 1
    model.Lifetime.system_use_lifetime_output = 0
    model.Lifetime.inflation_rate = 0
    model.SystemOutput.gen = list(generation or [0.0] * HOURS)
    model.SystemOutput.degradation = [0]
    model.Load.load = list(load)
    model.Load.load_escalation = [0]
    rates = model.ElectricityRates
    rates.rate_escalation = [0]
    rates.en_electricity_rates = 1
    rates.ur_metering_option = option
    rates.ur_monthly_fixed_charge = record.get("fixedchargefirstmeter", 0)
    rates.ur_monthly_min_charge = record.get("minmonthlycharge", 0)
    rates.ur_annual_min_charge = 0
    rates.ur_nm_yearend_sell_rate = 0
    rates.ur_nm_credit_month = 11
    rates.ur_nm_credit_rollover = 0
    rates.ur_en_ts_sell_rate = 0
    rates.ur_en_ts_buy_rate = 0
    rates.ur_ec_sched_weekday = _from_one(record["energyweekdayschedule"])
    rates.ur_ec_sched_weekend = _from_one(record["energyweekendschedule"])
    rates.ur_ec_tou_mat = [
        [period, number, tier.get("max", ENDLESS), UNITS[tier["unit"]], tier["rate"], 0]
        for period, tiers in enumerate(record["energyratestructure"], 1)
        for number, tier in enumerate(tiers, 1)
    ]
    _demand(rates, record)
    model.execute()
    out = model.Outputs
    netted = out.year1_monthly_ec_charge_with_system
    return Charges(
        energy=tuple(netted if generation else out.year1_monthly_ec_charge_without_system),
        flat_demand=tuple(out.year1_monthly_dc_fixed_without_system),
        demand=tuple(out.year1_monthly_dc_tou_without_system),
        fixed=tuple(out.year1_monthly_fixed_without_system),
        total=tuple(out.year1_monthly_utility_bill_wo_sys),
    )


def _demand(rates: Any, record: Mapping[str, Any]) -> None:
    flat = record.get("flatdemandstructure")
    by_time = record.get("demandratestructure")
    rates.ur_dc_enable = int(bool(flat or by_time))
    if not rates.ur_dc_enable:
        return
    flat = flat or [[{"rate": 0}]]
    rates.ur_dc_flat_mat = [
        [month, number, tier.get("max", ENDLESS), tier["rate"]]
        for month, period in enumerate(record.get("flatdemandmonths", [0] * 12))
        for number, tier in enumerate(flat[period], 1)
    ]
    rates.ur_dc_tou_mat = [
        [period, number, tier.get("max", ENDLESS), tier["rate"]]
        for period, tiers in enumerate(by_time or [[{"rate": 0}]], 1)
        for number, tier in enumerate(tiers, 1)
    ]
    always = [[0] * 24] * 12
    rates.ur_dc_sched_weekday = _from_one(record.get("demandweekdayschedule", always))
    rates.ur_dc_sched_weekend = _from_one(record.get("demandweekendschedule", always))


def _from_one(schedule: Sequence[Sequence[int]]) -> list[list[int]]:
    return [[period + 1 for period in row] for row in schedule]
