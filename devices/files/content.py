"""What a meter data file says, whatever its format."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from devices.files.problems import Problem, Severity

Int64s = NDArray[np.int64]
Codes = NDArray[np.uint8]
Bools = NDArray[np.bool_]
Format = Literal["nem12", "nem13", "green_button", "table", "parquet"]
Direction = Literal["import", "export", "none"]


class Quality(enum.IntEnum):
    """How a value came about; the codes of NEM12 (AEMO, Meter Data File Format) name the same."""

    ACTUAL = 0
    ESTIMATED = 1
    SUBSTITUTED = 2
    FINAL_SUBSTITUTED = 3
    NULL = 4


QUALITY_LETTERS: Final = {
    "A": Quality.ACTUAL,
    "E": Quality.ESTIMATED,
    "S": Quality.SUBSTITUTED,
    "F": Quality.FINAL_SUBSTITUTED,
    "N": Quality.NULL,
}


@dataclass(frozen=True, slots=True)
class Stream:
    """One measured quantity of one meter.

    `meter` is the NMI or usage point; `register` and `suffix` are what the file calls the part of
    it; `unit` is canonical (Wh, varh, VAh, W, var, VA, V, A, Hz, 1). `direction` is seen from the
    site: import is what it takes from the grid. `quantity` is a code of `devices.quantities`.
    """

    meter: str
    register: str
    suffix: str
    serial: str
    unit: str
    direction: Direction
    quantity: str | None


@dataclass(frozen=True, slots=True, eq=False)
class Intervals:
    """Of one stream, (n,) each, ascending and without overlap: the interval [start, start + length)
    in ms since the Unix epoch; the value is `raw` × `resolution` in the stream's unit, exactly;
    `quality` holds codes of Quality. Where it is NULL nothing was measured, and `raw` is 0.
    """

    start_ms: Int64s
    length_ms: Int64s
    raw: Int64s
    resolution: Decimal
    quality: Codes

    def __len__(self) -> int:
        return len(self.start_ms)

    def total(self) -> Decimal:
        """The exact sum of the values."""
        return int(sum(self.raw.tolist())) * self.resolution


@dataclass(frozen=True, slots=True, eq=False)
class Reads:
    """Accumulated reads of one stream, (n,) each, by current time: what the register showed at the
    previous and at the current reading (`previous`, `current`), and the `quantity` that the sender
    says passed between. All three are integers × `resolution` in the stream's unit; an export
    register's quantity may be negative. `rolled_over` says where the register passed its highest.
    """

    previous_ms: Int64s
    current_ms: Int64s
    previous: Int64s
    current: Int64s
    quantity: Int64s
    resolution: Decimal
    previous_quality: Codes
    current_quality: Codes
    rolled_over: Bools

    def __len__(self) -> int:
        return len(self.current_ms)

    def total(self) -> Decimal:
        """The exact sum of the quantities."""
        return int(sum(self.quantity.tolist())) * self.resolution


@dataclass(frozen=True, slots=True, eq=False)
class Instants:
    """Readings of one stream, (n,) each, ascending: what was measured at an instant (ms since the
    Unix epoch), `raw` × `resolution` in the stream's unit, exactly.
    """

    times: Int64s
    raw: Int64s
    resolution: Decimal
    quality: Codes

    def __len__(self) -> int:
        return len(self.times)

    def total(self) -> Decimal:
        """The exact sum of the values, which means something for few quantities alone."""
        return int(sum(self.raw.tolist())) * self.resolution


Content = Intervals | Reads | Instants


@dataclass(frozen=True, slots=True)
class ClockRule:
    """When the clocks change, as ESPI says it: at `hour` o'clock plus `second` of the day that is
    the `occurrence` (1 to 5, -1 the last, 0 any) `weekday` (Monday 1, 0 any) of `month`, or the
    first such weekday on or after `day` where that is not 0.
    """

    month: int
    day: int
    weekday: int
    occurrence: int
    hour: int
    second: int


@dataclass(frozen=True, slots=True)
class LocalTime:
    """The local time of a Green Button feed, whose readings are in UTC. `offset_s` is that of
    standard time, `summer_s` what summer time adds between the two rules.
    """

    offset_s: int
    summer_s: int
    summer_begins: ClockRule | None
    summer_ends: ClockRule | None


@dataclass(frozen=True, slots=True)
class MeterFile:
    """What has been read and what has not: the answer of a dry run.

    `ignored` counts what carries no reading (records 500 and 550, repeated readings, bills).
    `more_problems` is how many beyond the first ones in `problems` there were.
    """

    format: Format
    streams: Mapping[Stream, Content]
    problems: tuple[Problem, ...]
    more_problems: int
    ignored: Mapping[str, int]
    local_time: LocalTime | None = None

    @property
    def acceptable(self) -> bool:
        """Whether nothing is wrong with the file as a whole; single records may be refused."""
        return not any(problem.severity is Severity.REFUSE_FILE for problem in self.problems)
