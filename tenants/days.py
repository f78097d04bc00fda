"""Which days and instants people can mean. Knows no Django, so that every part may ask."""

from __future__ import annotations

from datetime import date
from typing import Final

# So far from what Python can count that a month more, or the clock of another place, still is a
# day.
FIRST_YEAR: Final = 1971
LAST_YEAR: Final = 2199


def possible(at: date) -> bool:
    """Whether somebody can mean a day or an instant: what lies farther away is a typing error."""
    return FIRST_YEAR <= at.year <= LAST_YEAR
