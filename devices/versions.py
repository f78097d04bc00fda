"""Versions of firmware: Semantic Versioning 2.0.0 (https://semver.org), and ranges of them.

Pure. A version's `key` is text whose order, byte by byte (`COLLATE "C"`), is the precedence of the
versions, so that a database sorts by it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Self

MAX_LENGTH: Final = 64
MAX_COMPARATORS: Final = 16
# So wide is a number in the key: what is longer is refused.
_DIGITS: Final = 10

_NUMBER = r"0|[1-9][0-9]*"
_PRE = rf"(?:{_NUMBER}|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_VERSION: Final = re.compile(
    rf"({_NUMBER})\.({_NUMBER})\.({_NUMBER})"
    rf"(?:-({_PRE}(?:\.{_PRE})*))?"
    r"(?:\+([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?"
)
_SHORT: Final = re.compile(rf"({_NUMBER})(?:\.({_NUMBER}))?")
_COMPARATOR: Final = re.compile(r"(>=|<=|!=|==|=|>|<|)\s*([^\s<>=!]+)")


class VersionError(ValueError):
    """A text that is no version or no range of versions; the message says what it should be.

    Its `code` is stable (`version`, `range`), `text` what was given.
    """

    def __init__(self, code: str, text: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.text = text


@dataclass(frozen=True, slots=True)
class Version:
    """A version; two that differ in their build metadata alone have the same precedence."""

    major: int
    minor: int
    patch: int
    pre: tuple[str, ...] = ()
    build: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `1.4.0`, `2.0.0-rc.1`, `1.4.0+5f2c`; raises VersionError."""
        found = _VERSION.fullmatch(text) if len(text) <= MAX_LENGTH else None
        if found is None or any(len(found[part]) > _DIGITS for part in (1, 2, 3)):
            raise VersionError(
                "version",
                text[:MAX_LENGTH],
                f"“{text[:MAX_LENGTH]}” is no semantic version: write it as major.minor.patch,"
                " for example 1.4.0 or 2.0.0-rc.1.",
            )
        pre = tuple(found[4].split(".")) if found[4] else ()
        return cls(int(found[1]), int(found[2]), int(found[3]), pre, found[5] or "")

    @property
    def key(self) -> str:
        """Text that sorts byte by byte as the version does."""
        core = f"{self.major:0{_DIGITS}}.{self.minor:0{_DIGITS}}.{self.patch:0{_DIGITS}}"
        if not self.pre:
            return core + "~"
        # Numbers come before words; "," before every character of a word, so that fewer parts come
        # first and a word ends before a longer one that begins like it.
        parts = (f"0{part:0>{MAX_LENGTH}}" if part.isdigit() else f"1{part}" for part in self.pre)
        return core + "-" + ",".join(parts)

    def __lt__(self, other: Version) -> bool:
        return self.key < other.key

    def __le__(self, other: Version) -> bool:
        return self.key <= other.key

    def __gt__(self, other: Version) -> bool:
        return self.key > other.key

    def __ge__(self, other: Version) -> bool:
        return self.key >= other.key

    def __str__(self) -> str:
        core = f"{self.major}.{self.minor}.{self.patch}"
        pre = f"-{'.'.join(self.pre)}" if self.pre else ""
        return core + pre + (f"+{self.build}" if self.build else "")


@dataclass(frozen=True, slots=True)
class Comparator:
    """One part of a range. A version that is written short stands for all that begin with it:
    `low` is the first of them, `end` the key before which they end.
    """

    operator: str
    low: str
    end: str
    text: str

    def holds(self, key: str) -> bool:
        """Whether a version with this key lies on the right side."""
        return _HOLDS[self.operator](self, key)


_HOLDS: Final[dict[str, Callable[[Comparator, str], bool]]] = {
    ">=": lambda bound, key: key >= bound.low,
    ">": lambda bound, key: key >= bound.end,
    "<": lambda bound, key: key < bound.low,
    "<=": lambda bound, key: key < bound.end,
    "=": lambda bound, key: bound.low <= key < bound.end,
    "!=": lambda bound, key: not bound.low <= key < bound.end,
}


@dataclass(frozen=True, slots=True)
class Range:
    """Versions that satisfy every comparator; without any, all versions.

    Comparators are joined by commas: `>=1.2,<2`. `=1.2` are all 1.2.x. A version that is written
    short takes the pre-releases of its first version along: `<2` leaves out 2.0.0-rc.1, as
    `>=2` has it. Written in full, precedence alone decides: `<2.0.0` holds for 2.0.0-rc.1.
    """

    comparators: tuple[Comparator, ...] = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a range; empty or `*` is every version. Raises VersionError."""
        if text.strip() in ("", "*"):
            return cls()
        parts = text.split(",")
        if len(parts) > MAX_COMPARATORS:
            raise _no_range(text)
        return cls(tuple(_comparator(part.strip(), text) for part in parts))

    def holds(self, version: Version) -> bool:
        """Whether the version lies in the range."""
        key = version.key
        return all(comparator.holds(key) for comparator in self.comparators)

    def holds_text(self, text: str) -> bool:
        """The same of a version as a device tells it: what is no semantic version lies in none but
        the range of all.
        """
        if not self.comparators:
            return True
        try:
            return self.holds(Version.parse(text))
        except VersionError:
            return False

    def __str__(self) -> str:
        return ",".join(comparator.text for comparator in self.comparators)


def _comparator(part: str, whole: str) -> Comparator:
    found = _COMPARATOR.fullmatch(part)
    if found is None:
        raise _no_range(whole)
    operator = "=" if found[1] in ("", "==") else found[1]
    short = _SHORT.fullmatch(found[2])
    if short is not None and all(len(number or "") < _DIGITS for number in short.groups()):
        low = _first(int(short[1]), int(short[2] or 0))
        end = _first(int(short[1]) + 1, 0) if short[2] is None else None
        end = end or _first(int(short[1]), int(short[2]) + 1)
    else:
        try:
            low = Version.parse(found[2]).key
        except VersionError:
            raise _no_range(whole) from None
        # The least text above it: nothing lies between.
        end = low + "\0"
    return Comparator(operator, low, end, operator + found[2])


def _first(major: int, minor: int) -> str:
    """The key below all pre-releases of major.minor.0 and above what comes before them."""
    return Version(major, minor, 0).key.removesuffix("~") + "-"


def _no_range(text: str) -> VersionError:
    return VersionError(
        "range",
        text[:MAX_LENGTH],
        f"“{text[:MAX_LENGTH]}” is no range of versions: join comparisons by commas, for example"
        " >=1.2,<2 or =1.4.0.",
    )
