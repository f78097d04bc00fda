"""Claim codes as text: what is drawn, printed, typed and compared.

Sixteen characters of Crockford's base32 (digits and capitals without I, L, O and U) in four groups:
fifteen random ones, 75 bits, and a check character. The check character is the remainder of
Horner's rule over GF(32) (modulus x⁵ + x² + 1): it finds every single wrong character and every
two neighbours in the wrong order, so that a mistyping is told from a wrong code without asking.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass, field
from typing import Final

ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
LENGTH: Final = 16
GROUP: Final = 4
# How people misread what they type.
_READ_AS: Final = str.maketrans({"I": "1", "L": "1", "O": "0", "U": "V"})
_SEPARATORS: Final = re.compile(r"[\s\-–—_.]+")
_MODULUS: Final = 0b100101


class BadCode(ValueError):  # noqa: N818 - it reads as what happened
    """A text that is no claim code: of another length, or mistyped."""


@dataclass(frozen=True, slots=True)
class Code:
    """A claim code in the clear; sixteen characters of ALPHABET."""

    characters: str = field(repr=False)

    @classmethod
    def draw(cls) -> Code:
        """A new one from the system's random source."""
        random = "".join(secrets.choice(ALPHABET) for _ in range(LENGTH - 1))
        return cls(random + check_character(random))

    @classmethod
    def parse(cls, text: str) -> Code:
        """The code from what somebody typed, in any case and grouping.

        Raises BadCode, without telling more than that it was mistyped.
        """
        # The cap keeps a long text from being searched at length.
        compact = _SEPARATORS.sub("", text[: 4 * LENGTH]).upper().translate(_READ_AS)
        if len(compact) != LENGTH or not set(compact) <= set(ALPHABET):
            raise BadCode(f"a claim code has {LENGTH} letters and digits")
        if check_character(compact[:-1]) != compact[-1]:
            raise BadCode("the check character does not fit")
        return cls(compact)

    @property
    def text(self) -> str:
        """How it is printed: XXXX-XXXX-XXXX-XXXX."""
        groups = range(0, LENGTH, GROUP)
        return "-".join(self.characters[at : at + GROUP] for at in groups)

    @property
    def ending(self) -> str:
        """The last group."""
        return self.characters[-GROUP:]

    @property
    def sha256(self) -> bytes:
        """What is stored and searched for: 32 bytes."""
        return hashlib.sha256(self.characters.encode()).digest()


def check_character(text: str) -> str:
    """The character that follows `text` (of ALPHABET)."""
    remainder = 0
    for character in text:
        remainder = _times_x(remainder) ^ ALPHABET.index(character)
    return ALPHABET[_times_x(remainder)]


def _times_x(value: int) -> int:
    """x · value in GF(32)."""
    value <<= 1
    return value ^ _MODULUS if value & 0b100000 else value
