"""How much worse updated devices may be, and how sure the gate has to be to say so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final, Literal, get_args

from firmware.gate.metrics import METRICS, Metric

Inconclusive = Literal["person", "pass"]

# A limit nearer to 1 would ask for more devices than any wave has.
LEAST_LIMIT: Final = 1.01
MOST_LIMIT: Final = 100.0
_BOUNDS: Final[Mapping[str, tuple[float, float]]] = MappingProxyType(
    {
        "false_alarms": (0.0001, 0.1),
        "confidence": (0.8, 0.999),
        "looks": (1, 24),
        "look_every_s": (900, 7 * 86_400),
        "past_days": (1, 28),
    }
)


class GateLimitsError(ValueError):
    """Limits that cannot be: `problem` is the code of a sentence with `values` in it
    (`firmware.domain.gate_words.limits_problem`).
    """

    def __init__(self, problem: str, **values: object) -> None:
        super().__init__(f"{problem} {values}" if values else problem)
        self.problem, self.values = problem, values


def _usual() -> Mapping[Metric, float]:
    return MappingProxyType({metric: info.limit for metric, info in METRICS.items()})


@dataclass(frozen=True, slots=True)
class GateLimits:
    """The limits of a roll-out's gate; raises GateLimitsError.

    `ratios`: for each metric that is looked at, the multiple of what the control group shows that
    the updated devices may show. `false_alarms`: the share of harmless roll-outs that the gate may
    stop, over all its metrics, waves and looks together. `confidence`: how sure it has to be, for
    each metric, that the limit is kept before it lets a wave pass. A wave is looked at up to
    `looks` times, `look_every_s` seconds apart. What is still undecided then is left to a person
    or, with `inconclusive` "pass", passes unless it can not be judged at all. Each device is
    compared with the same clock times of its last `past_days` days before the roll-out.
    """

    ratios: Mapping[Metric, float] = field(default_factory=_usual)
    false_alarms: float = 0.01
    confidence: float = 0.95
    looks: int = 4
    look_every_s: int = 21_600
    past_days: int = 7
    inconclusive: Inconclusive = "person"

    def __post_init__(self) -> None:
        """Check every value."""
        if not self.ratios:
            raise GateLimitsError("nothing")
        for metric, ratio in self.ratios.items():
            if not LEAST_LIMIT <= ratio <= MOST_LIMIT:
                raise GateLimitsError(
                    "ratio", name=metric.value, least=LEAST_LIMIT, most=MOST_LIMIT
                )
        for name, (least, most) in _BOUNDS.items():
            if not least <= getattr(self, name) <= most:
                raise GateLimitsError("range", name=name, least=least, most=most)
        if self.inconclusive not in get_args(Inconclusive):
            raise GateLimitsError("inconclusive")

    def to_json(self) -> dict[str, Any]:
        """As `from_json` reads it."""
        return {
            "ratios": {metric.value: ratio for metric, ratio in self.ratios.items()},
            **{name: getattr(self, name) for name in _BOUNDS},
            "inconclusive": self.inconclusive,
        }

    @classmethod
    def from_json(cls, value: object) -> GateLimits:
        """Read what `to_json` gave; what is left out has its usual value. GateLimitsError."""
        if not isinstance(value, Mapping):
            raise GateLimitsError("object")
        unknown = sorted(str(name) for name in set(value) - {"ratios", "inconclusive", *_BOUNDS})
        if unknown:
            raise GateLimitsError("unknown", name=unknown[0])
        given: dict[str, Any] = {
            name: _number(name, value[name], whole=name not in ("false_alarms", "confidence"))
            for name in _BOUNDS
            if name in value
        }
        if "ratios" in value:
            given["ratios"] = _ratios(value["ratios"])
        if "inconclusive" in value:
            given["inconclusive"] = value["inconclusive"]
        return cls(**given)


def _ratios(value: object) -> Mapping[Metric, float]:
    if not isinstance(value, Mapping):
        raise GateLimitsError("ratios")
    found = {}
    for code, ratio in value.items():
        if code not in Metric.__members__.values():
            raise GateLimitsError("metric", name=code, known=", ".join(Metric))
        found[Metric(code)] = float(_number(code, ratio))
    return MappingProxyType(found)


def _number(name: str, value: object, *, whole: bool = False) -> float:
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
        raise GateLimitsError("whole" if whole else "number", name=name)
    return value
