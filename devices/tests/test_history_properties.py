"""What history promises, as it is stored: whatever the way of the readings was, it is the same.

The rules themselves are tested without a database: `test_segment.py` (merging, any number of
steps, cutting into frames, as of), `test_rollup.py` (order, company, cutting), `test_series.py`
(energy of a period and of its parts), and with processes that are killed in
`test_segments_crash.py`. Here everything is put together, from frames to answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from django.db import connections, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devices.domain import packing, rollups, seals, segments, series
from devices.models import Device
from devices.telemetry.periods import Resolution
from devices.tests import factories
from tenants.scope import Scope, open_scope

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "ingest", "owner"])

START = factories.START
END = START + timedelta(hours=6)
LATER = START + timedelta(days=2)
SECOND = timedelta(seconds=1)
# Each example is a device of its own: nothing is left of the one before.
examples = settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(autouse=True)
def _empty() -> Iterator[None]:
    yield
    factories.remove_everything()


@dataclass(frozen=True)
class Piece:
    """Readings each two seconds, from a number of seconds after START on."""

    offset: int
    count: int

    def cut(self, at: int) -> list[Piece]:
        """The same in two pieces, or in one."""
        if not 0 < at < self.count:
            return [self]
        return [Piece(self.offset, at), Piece(self.offset + 2 * at, self.count - at)]


PIECES = st.lists(
    st.builds(Piece, st.integers(0, 5_000).map(lambda number: 2 * number), st.integers(1, 60)),
    min_size=1,
    max_size=6,
)
# What may happen between two frames; `lost`: done, and taken back by a crash before the commit.
WORK = st.sampled_from(["", "roll", "move", "pack", "roll lost", "move lost", "pack lost"])


@st.composite
def _ways(draw: st.DrawFn) -> tuple[list[Piece], list[tuple[Piece, str]]]:
    """Pieces, and another way of the same: cut, repeated, in any order, with work in between."""
    pieces = draw(PIECES)
    parts = [part for piece in pieces for part in piece.cut(draw(st.integers(0, 60)))]
    parts += draw(st.lists(st.sampled_from(parts), max_size=3))
    return pieces, [(part, draw(WORK)) for part in draw(st.permutations(parts))]


def _device() -> Device:
    of = factories.tenant()
    with open_scope(Scope((of.pk,))):
        return factories.device(factories.facility(of)).device


def _store(device: Device, sequence: int, piece: Piece, *, arrived: Any = END) -> None:
    """What was measured at a time is always the same."""
    moments = piece.offset + 2 * np.arange(piece.count)
    power = (moments * 7919) % 20_011 - 9_000
    values = [power.tolist(), (20_000 + moments % 997).tolist()]
    started_at = START + piece.offset * SECOND
    factories.store_frame(device, sequence, started_at, values, received_at=arrived)


def _do(device: Device, work: str) -> None:
    steps: dict[str, Callable[[], object]] = {
        "roll": rollups.roll_up,
        "move": lambda: segments.move(before=LATER),
        "pack": lambda: packing.pack(before=LATER),
    }
    name, _, lost = work.partition(" ")
    with open_scope(Scope((device.tenant_id,))), transaction.atomic():
        if name:
            steps[name]()
        if lost:
            transaction.set_rollback(True)


def _finish(device: Device) -> None:
    for work in ("roll", "move", "pack"):
        _do(device, work)


def _segments(device: Device) -> list[tuple[Any, bytes]]:
    with connections["owner"].cursor() as cursor:
        cursor.execute(
            "SELECT starts_at, body FROM telemetry_segment WHERE device_id = %s ORDER BY 1",
            [device.pk],
        )
        return [(at, bytes(body)) for at, body in cursor.fetchall()]


def _answer(
    device: Device, resolution: Resolution, window: tuple[Any, Any], **options: Any
) -> list[list[Any]]:
    """All columns of an answer, of both channels."""
    with open_scope(Scope((device.tenant_id,))):
        found = series.read_series(
            channels=[(device.pk, 0), (device.pk, 1)],
            start=window[0],
            end=window[1],
            resolution=resolution,
            **options,
        )
    columns = [one.curve or one.periods for one in found.channels]
    return [
        [np.asarray(getattr(one, name)).tolist() for name in one.__slots__]
        for one in columns
        if one is not None
    ]


def _same(one: Any, other: Any) -> None:
    np.testing.assert_equal(one, other)  # unknown equals unknown


@examples
@given(_ways())
def test_whatever_their_way_was_segments_and_roll_ups_are_the_same(
    ways: tuple[Sequence[Piece], Sequence[tuple[Piece, str]]],
) -> None:
    """Order of arrival, repetition, cutting into frames, when it was worked on and what was lost of
    that change nothing.
    """
    straight, crooked = _device(), _device()
    for sequence, piece in enumerate(ways[0], 1):
        _store(straight, sequence, piece)
    for sequence, (piece, work) in enumerate(ways[1], 1):
        _store(crooked, sequence, piece)
        _do(crooked, work)
    for device in (straight, crooked):
        _finish(device)
    assert _segments(crooked) == _segments(straight)
    assert _segments(crooked) != []
    window = (START - timedelta(hours=1), END)
    for resolution in (Resolution.RAW, Resolution.QUARTER, Resolution.HOUR, Resolution.DAY):
        _same(_answer(crooked, resolution, window), _answer(straight, resolution, window))
    owner = connections["owner"]
    assert seals.verify(owner, [crooked.pk], START.date(), LATER.date()).differences == ()


@examples
@given(PIECES, st.lists(WORK, min_size=6, max_size=6), st.data())
def test_what_was_known_at_an_instant_stays_what_it_was(
    pieces: Sequence[Piece], works: Sequence[str], data: st.DataObject
) -> None:
    """Frames of one device after another, each with other values for the same times; whatever
    arrives or is done later, a question as of an earlier instant has the answer that it had.
    """
    device = _device()
    window = (START, START + timedelta(hours=3))
    told: list[tuple[Any, Resolution, Any]] = []
    for number, piece in enumerate(pieces, 1):
        arrived = END + number * SECOND
        again = data.draw(st.sampled_from(pieces))
        values = [[number * 100] * again.count, [number] * again.count]
        _store(device, 2 * number - 1, piece, arrived=arrived)
        factories.store_frame(
            device, 2 * number, START + again.offset * SECOND, values, received_at=arrived
        )
        for resolution in (Resolution.RAW, Resolution.HOUR):
            told.append((arrived, resolution, _answer(device, resolution, window, as_of=arrived)))
        _do(device, works[number - 1])
    _finish(device)
    for instant, resolution, answer in told:
        _same(_answer(device, resolution, window, as_of=instant), answer)


@examples
@given(PIECES, st.lists(st.integers(0, 24), min_size=1, max_size=4), st.booleans())
def test_the_energy_of_a_period_is_that_of_its_parts(
    pieces: Sequence[Piece], cuts: Sequence[int], is_packed: bool
) -> None:
    device = _device()
    for sequence, piece in enumerate(pieces, 1):
        _store(device, sequence, piece)
    _do(device, "roll")
    if is_packed:
        _do(device, "pack")
    first, last = START - timedelta(hours=1), END

    def energy(window: tuple[Any, Any], resolution: Resolution) -> float:
        power = _answer(device, resolution, window)[0]
        return float(np.nansum(power[8]))  # the column of energy

    whole = energy((first, last), Resolution.QUARTER)
    borders = sorted({first, last, *(START + cut * timedelta(minutes=15) for cut in cuts)})
    for resolution in (Resolution.QUARTER, Resolution.HOUR, Resolution.DAY, Resolution.MONTH):
        parts = [energy((begin, end), resolution) for begin, end in pairwise(borders)]
        assert sum(parts) == pytest.approx(whole, abs=1e-6)
    assert np.isfinite(whole)
    assert abs(whole) > 0
