"""Public holidays by region (ISO 3166-2, from `holidays`) and by own dates."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date
from functools import lru_cache
from typing import Final

import holidays

_DATE: Final = re.compile(r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")
_EVERY_YEAR: Final = re.compile(r"\A[0-9]{2}-[0-9]{2}\Z")
_REGION: Final = re.compile(r"\A([A-Z]{2})(?:-([A-Z0-9]{1,3}))?\Z")


def known(text: str) -> bool:
    """Whether it names a region, a date (2027-12-24) or a day of every year (12-24)."""
    try:
        _days(text, 2024)
    except ValueError:
        return False
    return True


def holidays_in(year: int, texts: Iterable[str]) -> frozenset[date]:
    """The holidays of a year that any of the texts names."""
    return frozenset().union(*(_days(text, year) for text in texts))


@lru_cache(maxsize=1024)
def _days(text: str, year: int) -> frozenset[date]:
    """Raises ValueError for a text that names none."""
    if _DATE.match(text):
        day = date.fromisoformat(text)
        return frozenset({day} if day.year == year else ())
    if _EVERY_YEAR.match(text):
        date.fromisoformat(f"2024-{text}")
        leap = text != "02-29" or (year % 4 == 0 and (year % 100 != 0 or year % 400 == 0))
        return frozenset({date.fromisoformat(f"{year}-{text}")} if leap else ())
    region = _REGION.match(text)
    if region is None:
        raise ValueError(text)
    try:
        found = holidays.country_holidays(region[1], subdiv=region[2], years=year)
    except NotImplementedError as error:
        raise ValueError(text) from error
    return frozenset(found)
