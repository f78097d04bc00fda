"""The physical model: the same for a seed, consistent with itself, within physical limits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devices.protocol import Block, encode_data, scan_data
from devices.simulator.catalogue import MAINS, METER_TYPES, SMART_METER, MeterType
from devices.simulator.model.chance import Chance, Int64s
from devices.simulator.model.electrics import Register
from devices.simulator.model.site import HOUR_S, STEPS, ModelSource, Site
from devices.simulator.model.sources import Battery, balance
from devices.simulator.model.weather import Place, sky, weather
from devices.simulator.park import CHAIN_FACILITIES, FACILITIES, HOUSEHOLDS, ParkFacility

EPOCH_S = int(datetime(2026, 6, 1, tzinfo=UTC).timestamp())
FIRST = EPOCH_S // HOUR_S

SAMPLE = (CHAIN_FACILITIES[0], CHAIN_FACILITIES[3], CHAIN_FACILITIES[4], HOUSEHOLDS[0])


def day(facility: ParkFacility, meter: str, *, hours: int = 24, seed: int | None = None) -> Int64s:
    """Readings (channels, steps) of a meter from the epoch on."""
    layout = facility.layout(facility.seed)
    site = Site(seed=seed or facility.seed, layout=layout, epoch_s=EPOCH_S)
    return np.hstack([site.hour(FIRST + hour)[meter] for hour in range(hours)])


def named(meter: MeterType, readings: Int64s, key: str) -> Int64s:
    row: Int64s = readings[meter.number(key)]
    return row


@pytest.mark.parametrize("facility", SAMPLE, ids=lambda facility: facility.name)
def test_site_gives_the_same_bytes_for_the_same_seed(facility: ParkFacility) -> None:
    def frames() -> Iterator[bytes]:
        site = facility.site(EPOCH_S)
        for device in facility.devices:
            source = ModelSource(site, device.meter)
            start_ms = (EPOCH_S + 7 * HOUR_S) * 1_000
            for minute in range(20):
                blocks = source.read(
                    start_ms + minute * 60_000 - 1, start_ms + (minute + 1) * 60_000 - 1, 2_000
                )
                yield encode_data(minute + 1, blocks)

    assert list(frames()) == list(frames())


def test_site_differs_by_seed() -> None:
    assert (
        day(HOUSEHOLDS[0], "mains", hours=2) != day(HOUSEHOLDS[0], "mains", hours=2, seed=7)
    ).any()


def test_site_can_be_asked_in_any_order_and_resumed() -> None:
    facility = HOUSEHOLDS[0]
    straight = facility.site(EPOCH_S)
    readings = {hour: straight.hour(FIRST + hour) for hour in range(10)}
    snapshot = straight.snapshot
    jumping = facility.site(EPOCH_S)
    resumed = facility.site(EPOCH_S)
    resumed.resume(snapshot)
    for hour, other in ((9, jumping), (2, jumping), (3, resumed)):
        for meter in straight.meters:
            assert (other.hour(FIRST + hour)[meter] == readings[hour][meter]).all()
    longer = facility.site(EPOCH_S)
    for hour in (9, 0, 5, 6, 1):
        assert (longer.hour(FIRST + hour)["battery"] == readings[hour]["battery"]).all()
    assert longer.snapshot == snapshot  # going back does not undo what was computed
    following = resumed.hour(FIRST + 10)
    assert (following["battery"] == straight.hour(FIRST + 10)["battery"]).all()
    with pytest.raises(ValueError, match="before the site's epoch"):
        straight.hour(FIRST - 1)


@pytest.mark.parametrize("facility", CHAIN_FACILITIES, ids=lambda facility: facility.name)
def test_submeters_add_up_to_the_mains(facility: ParkFacility) -> None:
    site = facility.site(EPOCH_S)
    for hour in (3, 11, 19):
        readings = site.hour(FIRST + hour)
        mains = readings["mains"][MAINS.number("active_power")]
        feeders = sum(readings[key][0] for key in site.layout.feeders)
        if "pv" in readings:
            feeders = feeders - readings["pv"][0]
        # Class 0.5 sub-meters behind a class 0.2 mains meter, each rounded to 1 W.
        gross = sum(np.abs(readings[key][0]) for key in site.meters if key != "mains")
        assert (np.abs(mains - feeders) <= 0.007 * gross + 6).all()


@pytest.mark.parametrize("facility", SAMPLE, ids=lambda facility: facility.name)
def test_registers_are_the_exact_integral_of_power(facility: ParkFacility) -> None:
    readings = day(facility, "mains")
    power = named(MAINS, readings, "active_power")
    for key, sign in (("energy_import", 1), ("energy_export", -1)):
        register = named(MAINS, readings, key)
        energy_ws = np.concatenate(([0], np.cumsum(np.maximum(sign * power, 0) * 2)))[:-1]
        assert (register - register[0] == energy_ws // 3_600).all()
    assert register[0] >= 10_000  # a meter that was tested, not one that begins at zero


def test_power_is_voltage_times_current_times_power_factor() -> None:
    for facility in SAMPLE:
        readings = day(facility, "mains")
        for phase in ("l1", "l2", "l3"):
            power = named(MAINS, readings, f"active_power_{phase}")
            volts = named(MAINS, readings, f"voltage_{phase}") / 10
            amperes = named(MAINS, readings, f"current_{phase}") / 100
            factor = named(MAINS, readings, f"power_factor_{phase}") / 1_000
            # Current is rounded to 0.01 A; where cos φ rounds to 0, half of its last digit is left.
            rounding = volts * (0.005 * np.abs(factor) + 0.0005 * (factor == 0) * amperes) + 0.01
            assert (np.abs(power - volts * amperes * factor) <= rounding).all()
            assert (np.sign(factor) * np.sign(power) >= 0).all()
        total = sum(named(MAINS, readings, f"active_power_l{n}") for n in (1, 2, 3))
        assert (named(MAINS, readings, "active_power") == total).all()


@pytest.mark.parametrize("month", [1, 4, 7, 11])
def test_no_frame_of_the_demo_would_be_quarantined(month: int) -> None:
    epoch_s = int(datetime(2026, month, 10, tzinfo=UTC).timestamp())
    for facility in FACILITIES:
        site = facility.site(epoch_s)
        for hour in (0, 7, 13):
            readings = site.hour(epoch_s // HOUR_S + hour)
            for device in facility.devices:
                channels = device.type.channels
                values = readings[device.meter]
                assert values.shape == (len(channels), STEPS)
                limits = {
                    channel.number: (
                        int(channel.minimum / channel.resolution),
                        int(channel.maximum / channel.resolution),
                    )
                    for channel in channels
                }
                times = (epoch_s + hour * HOUR_S) * 1_000 + 2_000 * np.arange(1_800)
                block = Block(times, tuple(range(len(channels))), values)
                assert scan_data(encode_data(1, (block,)), limits).verdict is None


def test_site_meters_fit_the_types_that_are_registered() -> None:
    for facility in FACILITIES:
        site = facility.site(EPOCH_S)
        serials = [device.serial for device in facility.devices]
        assert len(set(serials)) == len(serials)
        for device in facility.devices:
            assert METER_TYPES[device.type.code] is device.type
            assert site.channel_count(device.meter) == len(device.type.channels)


def test_frequency_is_shared_by_neighbours() -> None:
    first, second = (day(HOUSEHOLDS[number], "mains", hours=1) for number in (1, 6))
    row = SMART_METER.number("frequency")
    assert (first[row] == second[row]).all()
    assert 49_850 < first[row].min() < first[row].max() < 50_150


def test_load_follows_opening_hours_and_local_time() -> None:
    helsinki = CHAIN_FACILITIES[2]  # opens at 6 local time, which is 3 UTC in summer
    lighting = day(helsinki, "lighting")[0].reshape(24, STEPS).mean(axis=1)
    assert lighting[1] < 600 < 2_500 < lighting[5]


def test_photovoltaics_follow_the_sun() -> None:
    power = day(HOUSEHOLDS[2], "pv")[0].reshape(24, STEPS)
    assert (power[[0, 1, 22, 23]] == 0).all()
    assert power[10:13].mean() > 800
    assert power.max() <= 6_600


def test_sun_stands_where_the_almanac_says() -> None:
    # Noon heights: 90° − latitude + declination; equinox and solstices of 2026.
    for text, place, height in (
        ("2026-06-21T11:30", Place(48.0, 7.85), 90 - 48.0 + 23.44),
        ("2026-12-21T11:27", Place(48.0, 7.85), 90 - 48.0 - 23.44),
        ("2026-03-20T12:07", Place(0.0, 0.0), 90.0),
        ("2026-12-21T01:55", Place(-33.9, 151.2), 90 - 33.9 + 23.44),
    ):
        at = datetime.fromisoformat(text + "+00:00").timestamp()
        up = sky(place, np.array([at])).up[0]
        assert abs(np.degrees(np.arcsin(up)) - height) < 0.6


def test_weather_is_bounded_and_has_seasons() -> None:
    place = Place(48.0, 7.85)
    time_s = np.arange(0, 365 * 86_400, 1_800.0) + EPOCH_S
    year = weather(3, place, time_s)
    assert ((year.cloud >= 0) & (year.cloud <= 1)).all()
    assert ((year.irradiance >= 0) & (year.irradiance < 1_150)).all()
    assert (year.diffuse >= -1e-9).all()
    season = (time_s / 86_400 % 365.2425).astype(int)
    july = year.temperature[(season > 181) & (season < 212)]
    january = year.temperature[season < 31]
    assert 15 < july.mean() < 24
    assert -5 < january.mean() < 6


def test_battery_keeps_within_its_charge_and_conserves_energy() -> None:
    battery = Battery(capacity_wh=5_000, limit_watts=3_000)
    surplus = np.concatenate([np.full(5_000, 4_000.0), np.full(9_000, -2_500.0)])
    stored = balance(battery, surplus, 0.5)
    assert ((stored.charge >= 0) & (stored.charge <= 1)).all()
    assert stored.watts.max() == 3_000
    assert stored.watts.min() == -2_500
    charged = stored.watts[stored.watts > 0].sum() * 2 / 3_600
    discharged = -stored.watts[stored.watts < 0].sum() * 2 / 3_600
    balance_wh = charged * 0.955 - discharged / 0.95
    assert abs((stored.left - 0.5) * 5_000 - balance_wh) < 1e-6
    assert stored.left < 0.001


@given(st.lists(st.lists(st.integers(0, 400_000), min_size=1, max_size=30), min_size=1))
def test_register_does_not_depend_on_how_time_is_cut(parts: list[list[int]]) -> None:
    piecewise, whole = Register(7), Register(7)
    readings = [piecewise.advance(np.array(part)) for part in parts]
    joined = whole.advance(np.array([watts for part in parts for watts in part]))
    assert readings[-1][-1] == joined[-1]
    assert [value for part in readings for value in part[:-1]] == joined[:-1].tolist()


@given(st.integers(0, 2**63 - 1), st.integers(-(2**40), 2**40))
def test_chance_is_a_function_of_seed_and_index(seed: int, index: int) -> None:
    one, two = (Chance(seed, "purpose") for _ in range(2))
    assert one.at(index) == two.at(index)
    assert 0 <= one.at(index) < 1
    assert abs(float(one.bell(np.array([index]))[0])) <= 3.5


def test_chance_is_uniform_and_independent_of_its_neighbours() -> None:
    numbers = Chance(1, "x").uniform(np.arange(100_000))
    assert abs(numbers.mean() - 0.5) < 0.005
    assert abs(np.corrcoef(numbers[:-1], numbers[1:])[0, 1]) < 0.01
    other = Chance(1, "y").uniform(np.arange(100_000))
    assert abs(np.corrcoef(numbers, other)[0, 1]) < 0.01
    bell = Chance(1, "z").bell(np.arange(100_000))
    assert abs(bell.std() - 1) < 0.01


def test_catalogue_is_registered_as_it_is_read() -> None:
    for meter in METER_TYPES.values():
        assert [channel.number for channel in meter.channels] == list(range(len(meter.channels)))
        assert len({channel.key for channel in meter.channels}) == len(meter.channels)
        for channel in meter.channels:
            assert channel.minimum < channel.maximum
            assert channel.resolution in {Decimal(1).scaleb(-digits) for digits in range(4)}


def test_source_reads_the_grid_of_any_step() -> None:
    facility = HOUSEHOLDS[1]
    site = facility.site(EPOCH_S)
    source = ModelSource(site, "mains")
    start_ms = (EPOCH_S + HOUR_S) * 1_000
    assert source.due(start_ms, 30, 2_000) == start_ms + 60_000
    assert source.due(start_ms - 1, 1, 2_000) == start_ms
    (block,) = source.read(start_ms - 10_000, start_ms + 10_000, 2_000)  # over the hour
    hours = [site.hour(FIRST + hour)["mains"] for hour in (0, 1)]
    assert (block.values == np.hstack([hours[0][:, -4:], hours[1][:, :6]])).all()
    assert block.times.tolist() == list(range(start_ms - 8_000, start_ms + 10_001, 2_000))
    (slow,) = source.read(start_ms, start_ms + 60_000, 10_000)
    assert (slow.values == hours[1][:, 5:31:5]).all()
    (quick,) = source.read(start_ms, start_ms + 4_000, 500)
    assert (quick.values == hours[1][:, [0, 0, 0, 1, 1, 1, 1, 2]]).all()
    assert source.read(start_ms, start_ms + 1_999, 2_000) == ()
    early = source.read((EPOCH_S - 60) * 1_000, EPOCH_S * 1_000, 2_000)
    assert early[0].times.tolist() == [EPOCH_S * 1_000]


def test_layout_without_extras_has_fewer_meters() -> None:
    facility = HOUSEHOLDS[0]
    layout = replace(facility.layout(1), photovoltaics=None, battery=None)
    site = Site(seed=1, layout=layout, epoch_s=EPOCH_S)
    assert site.meters == ("mains", "home")
    with pytest.raises(KeyError):
        site.channel_count("pv")
    with pytest.raises(ValueError, match="full hour"):
        Site(seed=1, layout=layout, epoch_s=EPOCH_S + 1)
