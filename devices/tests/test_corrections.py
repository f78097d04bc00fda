"""Corrections against their rules, written out plainly: one instant, one reading, one fraction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from devices.telemetry.correction_store import packed, unpacked
from devices.telemetry.corrections import (
    MOST_RAW,
    CorrectionKind,
    Layer,
    Scaling,
    Window,
    concerned,
    corrected,
    joined,
    reached,
    scaled,
    source_windows,
    standing,
)
from devices.telemetry.segment import Readings

Reading = dict[int, int]  # time: raw

INT64 = st.integers(-(2**63), 2**63 - 1)
TIMES = st.integers(0, 60)
WINDOWS = st.tuples(TIMES, st.integers(1, 30)).map(lambda one: (one[0], one[0] + one[1]))
READINGS = st.dictionaries(TIMES, st.integers(-1000, 1000), max_size=40)
FACTORS = st.tuples(st.integers(-40, 40).filter(bool), st.integers(1, 16))
OFFSETS = st.tuples(st.integers(-500, 500), st.integers(1, 8))


def _readings(of: Reading, known: int = 0) -> Readings:
    times = np.array(sorted(of), np.int64)
    raw = np.array([of[time] for time in sorted(of)], np.int64)
    return Readings(times, np.full(len(of), known, np.int64), raw)


def _plain(of: Readings) -> Reading:
    return dict(zip(of.times.tolist(), of.raw.tolist(), strict=True))


@st.composite
def _layers(draw: st.DrawFn, most: int = 6) -> list[Layer]:
    found = []
    for number in range(draw(st.integers(0, most))):
        start, end = draw(WINDOWS)
        known = draw(st.integers(0, 20))
        inside = draw(st.dictionaries(st.integers(start, end - 1), st.integers(-9, 9), max_size=5))
        found.append(
            Layer(
                layer_id=number,
                kind=draw(st.sampled_from(CorrectionKind)),
                start_ms=start,
                end_ms=end,
                known=known,
                withdrawn=draw(st.none() | st.integers(known, 20)),
                scaling=Scaling.of(draw(FACTORS), draw(OFFSETS)),
                shift_ms=draw(st.integers(-40, 40).filter(bool)),
                given=_readings(inside),
            )
        )
    return found


def _expected(readings: Reading, layers: Sequence[Layer]) -> Reading:
    """The rules of the module, one instant at a time."""
    found = dict(readings)
    for layer in layers:
        inside = {time: raw for time, raw in found.items() if layer.start_ms <= time < layer.end_ms}
        outside = {time: raw for time, raw in found.items() if time not in inside}
        if layer.kind is CorrectionKind.REMOVE:
            found = outside
        elif layer.kind is CorrectionKind.REPLACE:
            assert layer.given is not None
            found = outside | _plain(layer.given)
        elif layer.kind is CorrectionKind.SCALE:
            # round() of a fraction rounds half to even.
            scaling = layer.scaling
            values = {
                time: round(Fraction(raw * scaling.up + scaling.add, scaling.down))
                for time, raw in inside.items()
            }
            found = outside | {t: raw for t, raw in values.items() if abs(raw) <= 2**53}
        else:
            start, end = layer.target
            staying = {time: raw for time, raw in outside.items() if not start <= time < end}
            found = staying | {time + layer.shift_ms: raw for time, raw in inside.items()}
    return found


def _within(readings: Reading, windows: Sequence[Window]) -> Reading:
    return {
        time: raw
        for time, raw in readings.items()
        if any(start <= time < end for start, end in windows)
    }


@given(READINGS, _layers())
def test_corrections_follow_their_rules(readings: Reading, layers: list[Layer]) -> None:
    found = corrected(_readings(readings), layers).readings
    assert _plain(found) == _expected(readings, layers)
    assert (np.diff(found.times) > 0).all()


@given(READINGS, _layers(), WINDOWS)
def test_a_window_needs_no_more_than_its_sources(
    readings: Reading, layers: list[Layer], window: Window
) -> None:
    sources = source_windows([window], layers)
    part = corrected(_readings(_within(readings, sources)), layers).between(*window)
    whole = corrected(_readings(readings), layers).between(*window)
    assert _plain(part.readings) == _plain(whole.readings)
    assert sources == joined(sources)
    assert _within(dict.fromkeys(range(*window), 0), sources) == dict.fromkeys(range(*window), 0)


@given(READINGS, _layers(), TIMES, st.integers(-1000, 1000))
def test_a_reading_changes_nothing_but_where_it_reaches(
    readings: Reading, layers: list[Layer], time: int, raw: int
) -> None:
    before = _expected(readings, layers)
    after = _expected(readings | {time: raw}, layers)
    changed = {at: 0 for at in {*before, *after} if before.get(at) != after.get(at)}
    assert _within(changed, reached([(time, time + 1)], layers)) == changed


@given(READINGS, _layers(), st.integers(0, 5))
def test_a_correction_changes_nothing_but_what_it_concerns(
    readings: Reading, layers: list[Layer], place: int
) -> None:
    if place >= len(layers):
        return
    without = [*layers[:place], *layers[place + 1 :]]
    before, after = _expected(readings, without), _expected(readings, layers)
    changed = {at: 0 for at in {*before, *after} if before.get(at) != after.get(at)}
    assert _within(changed, concerned(layers[place], layers)) == changed


@given(_layers(), st.integers(0, 22))
def test_those_stand_that_were_known_and_not_withdrawn(layers: list[Layer], as_of: int) -> None:
    expected = [
        one
        for one in sorted(layers, key=lambda one: (one.known, one.layer_id))
        if one.known <= as_of and not (one.withdrawn is not None and one.withdrawn <= as_of)
    ]
    assert standing(layers, as_of) == expected
    last = 21  # everything was known by then
    assert standing(layers) == standing(layers, last)


@given(READINGS, _layers())
def test_answers_of_the_past_stay_whatever_is_known_later(
    readings: Reading, layers: list[Layer]
) -> None:
    """At each second the answer of then is the answer as of then, asked at the end."""
    for second in range(22):
        known_then = [
            # What nobody has withdrawn yet is not withdrawn.
            one
            if one.withdrawn is None or one.withdrawn <= second
            else replace(one, withdrawn=None)
            for one in layers
            if one.known <= second
        ]
        then = corrected(_readings(readings), standing(known_then)).readings
        later = corrected(_readings(readings), standing(layers, second)).readings
        assert _plain(then) == _plain(later)


@given(st.lists(INT64, min_size=1, max_size=9), FACTORS, OFFSETS)
def test_scaling_is_exact_for_every_integer(
    raw: list[int], factor: tuple[int, int], offset: tuple[int, int]
) -> None:
    found, sound = scaled(np.array(raw, np.int64), Scaling.of(factor, offset))
    expected = [round(Fraction(one) * Fraction(*factor) + Fraction(*offset)) for one in raw]
    assert sound.tolist() == [abs(one) <= MOST_RAW for one in expected]
    assert found.tolist() == [one if abs(one) <= MOST_RAW else 0 for one in expected]


def test_half_is_rounded_to_even() -> None:
    found, _ = scaled(np.array([-5, -3, -1, 1, 3, 5], np.int64), Scaling.of((1, 2), (0, 1)))
    assert found.tolist() == [-2, -2, 0, 0, 2, 2]


def test_what_is_scaled_beyond_all_numbers_is_no_reading() -> None:
    layer = Layer(1, CorrectionKind.SCALE, 0, 10, 0, scaling=Scaling.of((10**9, 1), (0, 1)))
    found = corrected(_readings({1: 5, 2: 10**7, 3: -6, 20: 10**7}), [layer])
    assert _plain(found.readings) == {1: 5 * 10**9, 3: -6 * 10**9, 20: 10**7}
    assert found.lift is not None
    assert found.lift.tolist() == [1e9, 1e9, 1.0]


@given(READINGS.filter(bool))
def test_given_readings_are_kept_as_they_are(readings: Reading) -> None:
    wanted = _readings(readings, known=7)
    found = unpacked(packed(wanted.times, wanted.raw), len(wanted), 7)
    assert _plain(found) == readings
    assert found.known.tolist() == [7] * len(readings)
