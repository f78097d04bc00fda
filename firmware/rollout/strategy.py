"""What a person wants of a roll-out: waves, thresholds, windows, limits, retries, time-outs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final, Self

MOST_WAVES: Final = 20
MOST_WINDOWS: Final = 14
LONGEST_S: Final = 30 * 86_400
MOST_RETRIES: Final = 20
MOST_JOIN_DAYS: Final = 365
# Slower than a 2G link is no update, and nobody has a link of more than 100 Gbit/s.
LEAST_RATE: Final = 100
MOST_RATE: Final = 12_500_000_000
MOST_DOWNLOADS: Final = 1_000_000
_CLOCK: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")

# Why an update failed: what devices say (protocol family 4), and what the server finds out itself.
DEVICE_CODES: Final = (
    "type",
    "hardware",
    "version",
    "signature",
    "digest",
    "base",
    "space",
    "flash",
    "battery",
    "busy",
    "download",
    "self_test",
    "timeout",
    "power",
    "withdrawn",
    "other",
)
UNTRUE: Final = "untrue"  # said to have confirmed, and runs something else
FAILURE_CODES: Final = (*DEVICE_CODES, UNTRUE)


class BadStrategyError(ValueError):
    """A strategy that cannot be: `field` is at fault, `problem` is the code of a sentence with
    `values` in it (`firmware.domain.rollout_words.strategy_problem`).
    """

    def __init__(self, field: str, problem: str, **values: object) -> None:
        super().__init__(f"{field}: {problem} {values}" if values else f"{field}: {problem}")
        self.field, self.problem, self.values = field, problem, values


class OnError(StrEnum):
    """What happens when a threshold is passed or the gate says no."""

    PAUSE = "pause"
    ABORT = "abort"
    ROLLBACK = "rollback"


@dataclass(frozen=True, slots=True)
class WaveSize:
    """How many devices have been reached when the wave is over: so many, or percent of all."""

    count: int | None = None
    percent: float | None = None

    def reached(self, total: int) -> int:
        """The same as a number of devices of `total`; a share is rounded up."""
        if self.count is not None:
            return min(self.count, total)
        assert self.percent is not None
        # Hundredths of a percent are exact as integers: 7 % of 100 is 7 and not 8.
        return min(total, -(-round(self.percent * 100) * total // 10_000))


@dataclass(frozen=True, slots=True)
class Window:
    """Offers go out from `start` to `end` (HH:MM, the facility's local time) on some weekdays.

    Monday is 0. An end that is not after the start lies on the next day; the weekday is that of the
    start.
    """

    weekdays: tuple[int, ...]
    start: str
    end: str


@dataclass(frozen=True, slots=True)
class Retry:
    """After a failure: at most `limit` further attempts, the first `delay_s` later, each next one
    after twice that time.
    """

    limit: int
    delay_s: int


_ONCE_MORE: Final = Retry(3, 300)
DEFAULT_RETRIES: Final[Mapping[str, Retry]] = MappingProxyType(
    {
        "download": _ONCE_MORE,
        "digest": _ONCE_MORE,
        "timeout": Retry(2, 900),
        "power": _ONCE_MORE,
        "busy": Retry(5, 600),
        "battery": Retry(5, 3600),
        "base": Retry(1, 60),
        "withdrawn": Retry(2, 300),
        "flash": Retry(1, 300),
    }
)


@dataclass(frozen=True, slots=True)
class Strategy:
    """How a roll-out goes. Durations in seconds, shares in percent, rates in bytes per second.

    - `waves`: see `WaveSize`; the last one always reaches everybody.
    - `soak_s`: how long a wave that was updated is left alone before it is judged.
    - `success_percent` of a wave must have succeeded before it is over.
    - More than `error_percent` of a wave failed, or `error_count` in all (None: no such limit):
      `on_error` happens.
    - `windows`: none means always. `jitter_s` spreads the offers of a wave.
    - `max_downloads`, `bytes_per_s`: None sets no limit of the roll-out's own.
    - `retries` by failure code; a code without an entry is final.
    - `offer_s`: to accept; `download_s`: since the last sign of a download; `install_s`: from the
      whole payload to the reboot and back; `confirm_s`: given to the device to confirm.
    - `join_days`: so long after the beginning of its wave a device that was away may still come.
    - `gate`: limits of the telemetry gate as JSON (`firmware.gate`); None: no gate.
    """

    waves: tuple[WaveSize, ...] = (WaveSize(percent=1), WaveSize(percent=10), WaveSize(percent=100))
    soak_s: int = 3600
    approval_between: bool = False
    success_percent: float = 90
    error_percent: float = 5
    error_count: int | None = None
    on_error: OnError = OnError.PAUSE
    windows: tuple[Window, ...] = ()
    jitter_s: int = 0
    max_downloads: int | None = 100
    bytes_per_s: int | None = None
    retries: Mapping[str, Retry] = field(default_factory=lambda: DEFAULT_RETRIES)
    offer_s: int = 300
    download_s: int = 3600
    install_s: int = 1800
    confirm_s: int = 600
    join_days: int = 30
    gate: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """For storing; `from_json` makes the same of it."""
        return {
            **{name: getattr(self, name) for name in _PLAIN},
            "waves": [
                {"count": wave.count} if wave.count is not None else {"percent": wave.percent}
                for wave in self.waves
            ],
            "on_error": self.on_error.value,
            "windows": [
                {"weekdays": list(one.weekdays), "start": one.start, "end": one.end}
                for one in self.windows
            ],
            "retries": {
                code: {"limit": retry.limit, "delay_s": retry.delay_s}
                for code, retry in self.retries.items()
            },
            "gate": None if self.gate is None else dict(self.gate),
        }

    @classmethod
    def from_json(cls, data: Any) -> Self:
        """A checked strategy; what is not told is as by default. Raises BadStrategyError."""
        if not isinstance(data, dict):
            raise BadStrategyError("strategy", "object")
        known = {one.name for one in fields(cls)}
        if unknown := sorted(set(map(str, data)) - known):
            raise BadStrategyError(unknown[0], "unknown")
        return cls(**{name: _READERS[name](name, value) for name, value in data.items()})


def _whole(low: int, high: int, *, empty: bool = False) -> Callable[[str, Any], Any]:
    def read(name: str, value: Any) -> int | None:
        if value is None and empty:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise BadStrategyError(name, "whole", low=low, high=high)
        return value

    return read


def _share(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 100:
        raise BadStrategyError(name, "share")
    return value


def _flag(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise BadStrategyError(name, "flag")
    return value


def _waves(name: str, value: Any) -> tuple[WaveSize, ...]:
    if not isinstance(value, list) or not 1 <= len(value) <= MOST_WAVES:
        raise BadStrategyError(name, "waves", most=MOST_WAVES)
    sizes: list[WaveSize] = []
    for item in value:
        size = _wave(name, item)
        former = sizes[-1] if sizes else WaveSize()
        for mine, before in ((size.count, former.count), (size.percent, former.percent)):
            if mine is not None and before is not None and mine <= before:
                raise BadStrategyError(name, "waves_grow")
        sizes.append(size)
    return tuple(sizes)


def _wave(name: str, item: Any) -> WaveSize:
    if not isinstance(item, dict) or len(item) != 1:
        raise BadStrategyError(name, "wave")
    (kind, value), *_ = item.items()
    if kind == "count":
        return WaveSize(count=_whole(1, 10_000_000)(name, value))
    if kind != "percent" or not _share(name, value) > 0 or round(value * 100) < 1:
        raise BadStrategyError(name, "wave")
    return WaveSize(percent=value)


def _on_error(name: str, value: Any) -> OnError:
    if value not in list(OnError):
        raise BadStrategyError(name, "on_error")
    return OnError(value)


def _windows(name: str, value: Any) -> tuple[Window, ...]:
    if not isinstance(value, list) or len(value) > MOST_WINDOWS:
        raise BadStrategyError(name, "windows", most=MOST_WINDOWS)
    return tuple(_window(name, item) for item in value)


def _window(name: str, item: Any) -> Window:
    if not isinstance(item, dict) or set(item) != {"weekdays", "start", "end"}:
        raise BadStrategyError(name, "window")
    days, start, end = item["weekdays"], item["start"], item["end"]
    if (
        not isinstance(days, list)
        or not days
        or any(isinstance(day, bool) or day not in range(7) for day in days)
    ):
        raise BadStrategyError(name, "weekdays")
    for clock in (start, end):
        if not isinstance(clock, str) or _CLOCK.fullmatch(clock) is None:
            raise BadStrategyError(name, "clock")
    return Window(tuple(sorted(set(days))), start, end)


def _retries(name: str, value: Any) -> Mapping[str, Retry]:
    if not isinstance(value, dict):
        raise BadStrategyError(name, "retries")
    found: dict[str, Retry] = {}
    for code, item in value.items():
        if code not in FAILURE_CODES or not isinstance(item, dict):
            raise BadStrategyError(name, "retries")
        if set(item) != {"limit", "delay_s"}:
            raise BadStrategyError(name, "retries")
        found[code] = Retry(
            _whole(0, MOST_RETRIES)(name, item["limit"]),
            _whole(0, LONGEST_S)(name, item["delay_s"]),
        )
    return MappingProxyType(found)


def _gate(name: str, value: Any) -> Mapping[str, Any] | None:
    """Its content is the gate's affair; who takes a strategy in checks it there as well."""
    if value is not None and not isinstance(value, dict):
        raise BadStrategyError(name, "object")
    return value


_READERS: Final[Mapping[str, Callable[[str, Any], Any]]] = MappingProxyType(
    {
        "waves": _waves,
        "soak_s": _whole(0, LONGEST_S),
        "approval_between": _flag,
        "success_percent": _share,
        "error_percent": _share,
        "error_count": _whole(1, 10_000_000, empty=True),
        "on_error": _on_error,
        "windows": _windows,
        "jitter_s": _whole(0, LONGEST_S),
        "max_downloads": _whole(1, MOST_DOWNLOADS, empty=True),
        "bytes_per_s": _whole(LEAST_RATE, MOST_RATE, empty=True),
        "retries": _retries,
        "offer_s": _whole(10, LONGEST_S),
        "download_s": _whole(10, LONGEST_S),
        "install_s": _whole(10, LONGEST_S),
        "confirm_s": _whole(10, LONGEST_S),
        "join_days": _whole(0, MOST_JOIN_DAYS),
        "gate": _gate,
    }
)
_PLAIN: Final = (
    "soak_s",
    "approval_between",
    "success_percent",
    "error_percent",
    "error_count",
    "jitter_s",
    "max_downloads",
    "bytes_per_s",
    "offer_s",
    "download_s",
    "install_s",
    "confirm_s",
    "join_days",
)
