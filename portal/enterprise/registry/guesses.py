"""Limits on guessed claim codes.

A mistyped code is found by its check character and costs nothing; a well-formed one that opens
nothing counts as a guess. With 75 random bits no number of guesses is a danger to a single code:
the limits keep somebody from trying at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from django.core.cache import cache


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `guesses` in a window, which opens with the first of them."""

    name: str
    guesses: int
    window: timedelta


USER: Final = Limit("user", 10, timedelta(minutes=15))
ADDRESS: Final = Limit("address", 60, timedelta(minutes=15))


@dataclass(frozen=True, slots=True)
class Guesser:
    """Somebody who tries codes, from somewhere."""

    user_id: int
    address: str

    def exhausted(self) -> bool:
        """Whether there were too many guesses to be answered."""
        keys = self._keys()
        counts = cache.get_many(keys.values())
        return any(int(counts.get(key, 0)) >= limit.guesses for limit, key in keys.items())

    def note(self) -> None:
        """Count a guess."""
        for limit, key in self._keys().items():
            seconds = int(limit.window.total_seconds())
            cache.add(key, 0, seconds)
            try:
                cache.incr(key)
            except ValueError:  # its window ended between the two
                cache.set(key, 1, seconds)

    def _keys(self) -> dict[Limit, str]:
        return {
            USER: f"claim:{USER.name}:{self.user_id}",
            ADDRESS: f"claim:{ADDRESS.name}:{self.address}",
        }
