"""Randomness by hashing: the same (seed, purpose, index) gives the same number, always."""

from __future__ import annotations

import zlib
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Int64s = NDArray[np.int64]

# SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, OOPSLA 2014).
_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_MIX_1: Final = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2: Final = np.uint64(0x94D049BB133111EB)
_30, _27, _31, _11 = (np.uint64(bits) for bits in (30, 27, 31, 11))
_TO_UNIT: Final = 2.0**-53


class Chance:
    """A family of random functions of an integer index, all derived from one key."""

    __slots__ = ("_key",)

    def __init__(self, seed: int, *purpose: str | int) -> None:
        key = seed & 0xFFFF_FFFF_FFFF_FFFF
        for part in purpose:
            text = str(part).encode()
            salt = zlib.crc32(text) | zlib.crc32(text, 0xA5A5) << 32
            key = int(_mix(np.array([key ^ salt], np.uint64))[0])
        self._key = np.uint64(key)

    def uniform(self, index: Int64s) -> Floats:
        """Uniform in [0, 1), one number for each index."""
        with np.errstate(over="ignore"):
            bits = _mix(index.astype(np.uint64) * _GOLDEN + self._key)
        return (bits >> _11).astype(np.float64) * _TO_UNIT

    def at(self, index: int = 0) -> float:
        """One number, uniform in [0, 1)."""
        return float(self.uniform(np.array([index], np.int64))[0])

    def between(self, low: float, high: float, index: int = 0) -> float:
        """One number, uniform in [`low`, `high`)."""
        return low + (high - low) * self.at(index)

    def bell(self, index: Int64s) -> Floats:
        """Bounded noise: standard deviation 1, within ±3.5 (the sum of four uniform numbers)."""
        four = self.uniform((index * 4)[..., None] + np.arange(4))
        total: Floats = four.sum(axis=-1)
        return (total - 2) * 1.7320508075688772

    def smooth(self, time: Floats, period: float) -> Floats:
        """A smooth random function of time within ±1, with a new knot every `period`."""
        position = time / period
        knot = np.floor(position)
        index = knot.astype(np.int64)
        fraction = position - knot
        ease = fraction * fraction * (3 - 2 * fraction)
        # Neighbouring instants share knots: hash each knot once.
        first = int(index.min())
        values = self.uniform(np.arange(first, int(index.max()) + 2)) * 2 - 1
        left = values[index - first]
        return left + (values[index - first + 1] - left) * ease


def _mix(bits: NDArray[np.uint64]) -> NDArray[np.uint64]:
    with np.errstate(over="ignore"):
        bits = (bits ^ (bits >> _30)) * _MIX_1
        bits = (bits ^ (bits >> _27)) * _MIX_2
    return bits ^ (bits >> _31)
