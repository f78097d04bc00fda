"""Numbers as files write them, kept exactly: integers times a power of ten."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

import numpy as np

from devices.files.content import Int64s

# Longer ones are no meter readings, and a million digits would take minutes to convert.
_POINT: Final = re.compile(r"[+-]?(?:[0-9]{1,18}(?:\.[0-9]{0,12})?|\.[0-9]{1,12})")
_COMMA: Final = re.compile(r"[+-]?(?:[0-9]{1,18}(?:,[0-9]{0,12})?|,[0-9]{1,12})")
_LARGEST: Final = int(np.iinfo(np.int64).max)


class TooWideError(ArithmeticError):
    """Values together need more digits than 64 bits hold."""


@dataclass(frozen=True, slots=True, eq=False)
class Exact:
    """Values `raw` × 10^-`decimals`; `raw` is (n,)."""

    raw: Int64s
    decimals: int

    @property
    def resolution(self) -> Decimal:
        """What 1 of `raw` is worth."""
        return Decimal(1).scaleb(-self.decimals)


def is_number(text: str, mark: str = ".") -> bool:
    """Whether `parse` takes it; `mark` begins the decimals."""
    return (_COMMA if mark == "," else _POINT).fullmatch(text) is not None


def parse(texts: Sequence[str], mark: str = ".") -> Exact:
    """Numbers for which `is_number` holds, with as few decimals as all of them need. Raises
    TooWideError.
    """
    split = [text.partition(mark) for text in texts]
    fractions = [fraction.rstrip("0") for _, _, fraction in split]
    decimals = max(map(len, fractions), default=0)
    numbers = [
        # “-.0” has no digit left.
        int(whole + fraction.ljust(decimals, "0")) if (whole + fraction).strip("+-") else 0
        for (whole, _, _), fraction in zip(split, fractions, strict=True)
    ]
    return Exact(_array(numbers), decimals)


def join(parts: Sequence[Exact], power: int) -> Exact:
    """All parts one after the other, times 10^`power` (3 for kWh to Wh), with one resolution of at
    most 1. Raises TooWideError.
    """
    decimals = max([0, *(part.decimals - power for part in parts)])
    scaled = []
    for part in parts:
        factor = 10 ** (decimals - part.decimals + power)
        largest = max(int(part.raw.max()), -int(part.raw.min())) if len(part.raw) else 0
        if largest * factor > _LARGEST:
            raise TooWideError
        # The factor of nothing but zeros may itself be beyond 64 bits.
        scaled.append(part.raw * factor if largest else part.raw)
    return Exact(np.concatenate(scaled) if scaled else np.empty(0, np.int64), decimals)


def _array(numbers: list[int]) -> Int64s:
    if any(abs(number) > _LARGEST for number in numbers):
        raise TooWideError
    return np.array(numbers, np.int64)
