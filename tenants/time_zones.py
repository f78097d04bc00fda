"""The time zones that people choose from."""

from __future__ import annotations

from functools import cache
from zoneinfo import available_timezones


@cache
def names() -> tuple[str, ...]:
    """The names of the IANA time zone database as it was at the first call, in their order.

    Kept, because the library looks into six hundred files each time that it is asked: some 20 ms,
    for each form that offers a zone and for each facility that is checked.
    """
    return tuple(sorted(available_timezones()))


@cache
def choices() -> tuple[tuple[str, str], ...]:
    """Each name, and how it is shown."""
    return tuple((name, name.replace("_", " ")) for name in names())


@cache
def known() -> frozenset[str]:
    """The names to look one up in."""
    return frozenset(names())
