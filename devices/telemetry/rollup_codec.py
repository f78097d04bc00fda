"""The quarters of an hour of a device's day (UTC), as bytes and back, to the last bit.

Roll-ups are doubles that were computed from integers: a lowest reading is an integer of the
channel's resolution, a mean the sum of integers times milliseconds by the time that was measured.
So a column is kept as those integers where the arithmetic of `rollup.roll` gives the same doubles
again, every one of them, and else as the doubles themselves (the shares of registers, a channel
whose resolution has changed since).

    version          u8: 1
    channels         u8, 256 as 0
    measured         12 bytes: a bit for each of the 96 quarters in which any channel was measured,
                     the lowest bit of a byte first (the statement that marks sums reads them)
    the rest         compressed (`segment_columns.squeeze`):
      heads          one HEAD for each channel, by number; `present` has a bit for each quarter
      planes         for each channel and column `width` rows of 96 bytes, the least significant
                     bytes of all quarters first: (integer - base) / step, in the order of Column

Rows of planes have the same length everywhere: those of a thousand bodies are unpacked together,
in a few steps for each column, and only those of the channels asked for. Compressing takes a third
off the bytes and a third off the time of a read, because fewer pages are fetched; bits instead of
bytes, or differences, took more time than they saved.

What is no quarter of a channel has no bit, and the least of its column in the planes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from devices.protocol.data import Bools, Int64s
from devices.telemetry.rollup import QUARTER_MS, WH_PER_UNIT_MS, Floats, Quarters
from devices.telemetry.segment_columns import SegmentError, squeeze, stretch_at_most

QUARTERS: Final = 96
DAY_MS: Final = QUARTERS * QUARTER_MS
# Channels have numbers 0 to 255.
NUMBERS: Final = 256
_VERSION: Final = 1
_FRONT: Final = 2 + QUARTERS // 8
# What integers may be rounded from: beyond it doubles are no longer told apart as int64.
_LARGEST: Final = float(1 << 62)


class Column(IntEnum):
    """What is kept of a channel. WHOLE: the sum of integers times ms; BACK: of what was below 0."""

    N = 0
    HELD = 1
    MINIMUM = 2
    MAXIMUM = 3
    FIRST = 4
    LAST = 5
    WHOLE = 6
    ENERGY = 7
    BACK = 8


class Form(IntEnum):
    """How a column is kept: as integers, as the bits of doubles, as nothing but NaN, or (energy of
    power) not at all, because WHOLE tells it.
    """

    INTEGERS = 0
    DOUBLES = 1
    NOTHING = 2
    DERIVED = 3


_MANY: Final = len(Column)
_MOST: Final = _MANY * 8 * QUARTERS  # bytes of a channel's planes
HEAD: Final = np.dtype(
    [
        ("number", "u1"),
        ("present", "u1", (QUARTERS // 8,)),
        ("form", "u1", (_MANY,)),
        ("width", "u1", (_MANY,)),
        ("scale", "<f8"),
        ("unscale", "<f8"),
        ("base", "<i8", (_MANY,)),
        ("step", "<u8", (_MANY,)),
    ]
)
Grid = NDArray[Any]  # (channels, QUARTERS)


class Body(NamedTuple):
    """A packed day as it is stored: `start_ms` is its midnight (UTC)."""

    device_id: int
    start_ms: int
    body: bytes


def encode(
    start_ms: int, numbers: Int64s, quarters: Quarters, ratios: Mapping[int, tuple[int, int]]
) -> bytes:
    """The bytes of the quarters (n,) of a device that begin on the day from `start_ms` on.

    `numbers` (n,) are their channels, each quarter of a channel once; `ratios` has the resolution
    of a channel as numerator and denominator, where it has one.
    """
    channels = np.unique(numbers)
    place = np.searchsorted(channels, numbers), (quarters.starts - start_ms) // QUARTER_MS
    present = np.zeros((len(channels), QUARTERS), np.bool_)
    present[place] = True

    def spread(column: NDArray[Any]) -> Grid:
        grid = np.zeros(present.shape, column.dtype)
        grid[place] = column
        return grid

    heads = np.zeros(len(channels), HEAD)
    heads["number"] = channels
    heads["present"] = np.packbits(present, axis=1, bitorder="little")
    of = [ratios.get(int(number), (1, 1)) for number in channels]
    heads["scale"], heads["unscale"] = [up for up, _ in of], [down for _, down in of]
    planes = _Planes(present, heads)
    # Guesses may be far off where there is none: they are tried, not trusted.
    with np.errstate(over="ignore", invalid="ignore"):
        _fill(planes, quarters, spread)
    measured = np.packbits(present.any(axis=0), bitorder="little").tobytes()
    return (
        bytes((_VERSION, len(channels) % NUMBERS))
        + measured
        + squeeze(heads.tobytes() + planes.joined())
    )


def _fill(planes: _Planes, quarters: Quarters, spread: Callable[[NDArray[Any]], Grid]) -> None:
    """All columns, as integers where these give the same doubles."""
    n, coverage = spread(quarters.n), spread(quarters.coverage)
    scale, unscale = planes.scale, planes.unscale
    planes.add(Column.N, n)
    held, is_held = planes.tried(
        Column.HELD, coverage * QUARTER_MS, coverage, lambda held: held / QUARTER_MS
    )
    for column, values in (
        (Column.MINIMUM, quarters.minimum),
        (Column.MAXIMUM, quarters.maximum),
        (Column.FIRST, quarters.first),
        (Column.LAST, quarters.last),
    ):
        own = spread(values)
        planes.tried(
            column,
            own * unscale / scale,
            own,
            lambda raw: np.where(n == 0, np.nan, raw * scale / unscale),
        )
    mean, energy, back = map(spread, (quarters.mean, quarters.energy, quarters.returned))
    lasted = np.where(held > 0, held, 1)
    whole, is_whole = planes.tried(
        Column.WHOLE,
        mean * lasted * unscale / scale,
        mean,
        lambda whole: whole * scale / unscale / lasted,
        only=is_held,
    )
    planes.derived(is_whole, whole * scale / unscale / WH_PER_UNIT_MS, energy)
    planes.tried(
        Column.ENERGY, energy * unscale / scale, energy, lambda counted: counted * scale / unscale
    )
    planes.tried(
        Column.BACK,
        back * WH_PER_UNIT_MS * unscale / scale,
        back,
        lambda back: back * scale / unscale / WH_PER_UNIT_MS,
    )


class _Planes:
    """The columns of a day on their way to bytes: `present` (channels, QUARTERS), one head each."""

    def __init__(self, present: Grid, heads: NDArray[Any]) -> None:
        self._present = present
        self._heads = heads
        self._rows: dict[tuple[int, int], bytes] = {}
        self.scale: Floats = heads["scale"][:, None]
        self.unscale: Floats = heads["unscale"][:, None]

    def tried(
        self,
        column: Column,
        guess: Grid,
        values: Grid,
        again: Callable[[Floats], Grid],
        only: Bools | None = None,
    ) -> tuple[Floats, Bools]:
        """Keep doubles as integers, which are the guess rounded, in channels where `again` makes
        the same doubles of all of them.

        Returns the integers (channels, QUARTERS) as doubles and in which channels they are kept.
        """
        near = np.abs(guess) < _LARGEST  # False for NaN
        integers = np.rint(np.where(near, guess, 0.0)).astype(np.int64)
        same = _bits(again(integers.astype(np.float64))) == _bits(values)
        fits = (same | ~self._present).all(axis=1)
        if only is not None:
            fits &= only
        nothing = ((_bits(values) == _NAN) | ~self._present).all(axis=1)
        done = self._heads["form"][:, column] == Form.DERIVED
        form = np.where(nothing, Form.NOTHING, np.where(fits, Form.INTEGERS, Form.DOUBLES))
        self._heads["form"][:, column] = np.where(done, Form.DERIVED, form)
        kept = np.where(fits[:, None], integers, _bits(values))
        self.add(column, np.where((nothing | done)[:, None], 0, kept))
        return integers.astype(np.float64), fits

    def derived(self, known: Bools, energy: Grid, values: Grid) -> None:
        """Leave out the energy of the channels whose WHOLE tells it."""
        same = (_bits(energy) == _bits(values)) | ~self._present
        self._heads["form"][:, Column.ENERGY][known & same.all(axis=1)] = Form.DERIVED

    def add(self, column: Column, integers: Int64s) -> None:
        """Keep the integers (channels, QUARTERS) of a column."""
        present = self._present
        highest = np.iinfo(np.int64).max
        base = np.where(present, integers, highest).min(axis=1)
        # What is above the lowest may exceed int64, never uint64.
        above = np.where(present, integers - base[:, None], 0).view(np.uint64)
        step = np.maximum(np.gcd.reduce(above, axis=1), 1)
        above //= step[:, None]
        self._heads["base"][:, column] = base
        self._heads["step"][:, column] = step
        for row, most in enumerate(above.max(axis=1).tolist()):
            width = (int(most).bit_length() + 7) // 8
            self._heads["width"][row, column] = width
            self._rows[row, column] = (
                above[row].astype("<u8").view(np.uint8).reshape(QUARTERS, 8).T[:width].tobytes()
            )

    def joined(self) -> bytes:
        """All rows, by channel and column."""
        return b"".join(self._rows[key] for key in sorted(self._rows))


_NAN: Final = int(np.array([np.nan]).view(np.int64)[0])


def _bits(values: Grid) -> Int64s:
    return np.ascontiguousarray(values, np.float64).view(np.int64)


def decode(bodies: Sequence[Body], wanted: Int64s | None = None) -> Quarters:
    """The quarters of many packed days, by channel and start; their `series` are device x NUMBERS +
    number of the channel.

    `wanted`: of these series alone. A device's days come each once. Raises SegmentError when the
    bytes are no packed day.
    """
    opened = [_opened(one.body) for one in bodies]
    heads = np.frombuffer(b"".join(front for front, _ in opened), HEAD)
    counts = [len(front) // HEAD.itemsize for front, _ in opened]
    widths = heads["width"].astype(np.int64)
    own = np.repeat(np.arange(len(bodies)), counts)
    promised = np.bincount(own, widths.sum(axis=1), len(bodies)) * QUARTERS
    if not np.array_equal(promised, [len(rows) for _, rows in opened]):
        raise SegmentError("a packed day has not the length that its columns need")
    planes = np.frombuffer(b"".join(rows for _, rows in opened), np.uint8).reshape(-1, QUARTERS)
    devices = np.repeat([one.device_id for one in bodies], counts).astype(np.int64)
    days = np.repeat([one.start_ms for one in bodies], counts).astype(np.int64)
    begins = (np.cumsum(widths.ravel()) - widths.ravel()).reshape(widths.shape)
    series = devices * NUMBERS + heads["number"]
    order = np.lexsort((days, series))
    if wanted is not None:
        order = order[np.isin(series[order], wanted)]
    return _flat(_Grids(heads[order], begins[order], planes), series[order], days[order])


def _opened(body: bytes) -> tuple[bytes, bytes]:
    """The heads and the planes of a packed day."""
    if len(body) < _FRONT or body[0] != _VERSION:
        raise SegmentError("no packed day, or one of a version that this release does not know")
    split = (body[1] or NUMBERS) * HEAD.itemsize
    whole = stretch_at_most(body[_FRONT:], split + (body[1] or NUMBERS) * _MOST)
    if len(whole) < split:
        raise SegmentError(f"a packed day ends after {len(whole)} bytes")
    return whole[:split], whole[split:]


class _Grids:
    """Columns of many channels and days: (m, QUARTERS) each, (m, 1) where none of them varies."""

    def __init__(self, heads: NDArray[Any], begins: Int64s, planes: NDArray[np.uint8]) -> None:
        self.heads = heads
        self._begins = begins
        self._planes = planes
        self.scale: Floats = heads["scale"][:, None]
        self.unscale: Floats = heads["unscale"][:, None]
        self.present = np.unpackbits(heads["present"], axis=1, bitorder="little").view(np.bool_)
        self._all_present = bool(self.present.all())

    def integers(self, column: Column) -> Int64s:
        """What was added."""
        widths = self.heads["width"][:, column]
        base = self.heads["base"][:, column, None]
        if not widths.any():
            return base.astype(np.int64)
        found = np.zeros(self.present.shape, np.uint64)
        for width in np.unique(widths[widths > 0]).tolist():
            rows = np.flatnonzero(widths == width)
            begins = self._begins[rows, column]
            kind = np.uint32 if width <= 4 else np.uint64
            read = self._planes[begins].astype(kind)
            for byte in range(1, width):
                read |= self._planes[begins + byte].astype(kind) << kind(8 * byte)
            found[rows] = read
        found *= self.heads["step"][:, column, None]
        integers: Int64s = found.view(np.int64)
        integers += base
        return integers

    def doubles(
        self, column: Column, made: Callable[[Floats], Floats], integers: Int64s | None = None
    ) -> Floats:
        """The doubles of a column: `made` of its integers, or as they were kept."""
        if integers is None:
            integers = self.integers(column)
        forms = self.heads["form"][:, column, None]
        values = made(integers.astype(np.float64))
        if (forms == Form.DOUBLES).any():
            values = np.where(forms == Form.DOUBLES, integers.view(np.float64), values)
        if (forms == Form.NOTHING).any():
            values = np.where(forms == Form.NOTHING, np.nan, values)
        return values

    def flat(self, values: NDArray[Any]) -> NDArray[Any]:
        """The values of the quarters that there are, one channel and day after the other."""
        whole = np.broadcast_to(values, self.present.shape)
        return whole.reshape(-1) if self._all_present else whole[self.present]


def _flat(grids: _Grids, series: Int64s, days: Int64s) -> Quarters:
    scale, unscale = grids.scale, grids.unscale
    n, held, whole = (grids.integers(column) for column in (Column.N, Column.HELD, Column.WHOLE))
    lasted = np.where(held > 0, held, 1)
    without_readings = n == 0

    def reading(column: Column) -> Floats:
        values = grids.doubles(column, lambda raw: raw * scale / unscale)
        if without_readings.any():
            as_integers = grids.heads["form"][:, column, None] == Form.INTEGERS
            values = np.where(without_readings & as_integers, np.nan, values)
        return grids.flat(values)

    energy = grids.doubles(Column.ENERGY, lambda counted: counted * scale / unscale)
    derived = grids.heads["form"][:, Column.ENERGY, None] == Form.DERIVED
    if derived.any():
        energy = np.where(derived, whole * scale / unscale / WH_PER_UNIT_MS, energy)
    back = grids.doubles(Column.BACK, lambda back: back * scale / unscale / WH_PER_UNIT_MS)
    return Quarters(
        series=np.repeat(series, grids.present.sum(axis=1)),
        starts=grids.flat(days[:, None] + np.arange(QUARTERS) * QUARTER_MS),
        n=grids.flat(n),
        minimum=reading(Column.MINIMUM),
        maximum=reading(Column.MAXIMUM),
        mean=grids.flat(
            grids.doubles(Column.WHOLE, lambda whole: whole * scale / unscale / lasted, whole)
        ),
        first=reading(Column.FIRST),
        last=reading(Column.LAST),
        energy=grids.flat(energy),
        returned=grids.flat(back),
        coverage=grids.flat(grids.doubles(Column.HELD, lambda held: held / QUARTER_MS, held)),
    )
