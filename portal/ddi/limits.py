"""Limits of the DDI interface, counted in the cache over all web processes.

Tokens have 192 random bits, so nobody guesses one: the limits keep those who try, and devices with
a wrong token or gone wild, from costing more than a counter. While Redis is away nothing is counted
and everybody let in: a limit is no reason to leave devices without their updates.
"""

from __future__ import annotations

import hashlib
import ipaddress
import logging
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from django.core.cache import cache
from redis.exceptions import RedisError

logger = logging.getLogger(__name__)

WINDOW_S: Final = 60
# That a token has opened something is remembered for so long.
KNOWN_S: Final = 24 * 3600


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `most` in a window of WINDOW_S seconds, which opens with the first."""

    name: str
    most: int


# Wrong tokens of one address for one device: others behind the same address go on.
PAIR: Final = Limit("pair", 5)
# Wrong tokens of one address, whatever devices it names.
ADDRESS: Final = Limit("address", 100)
# Requests of a device: each polls at most every few seconds, and tells of steps in between.
REQUESTS: Final = Limit("requests", 240)
# Requests for files: some clients ask for ranges of a few kilobytes.
FILES: Final = Limit("files", 6000)


@dataclass(frozen=True, slots=True)
class Standing:
    """`refused`: the address has shown too many wrong tokens. `known`: this token has opened this
    device lately. Many devices share an address (a site's router, a mobile network), so that one of
    them with a wrong token must not shut out those that have the right one.
    """

    refused: bool = False
    known: bool = False


def standing(*, address: str, controller: str, token: str) -> Standing:
    """What is remembered of who asks."""
    pair, place = _failure_keys(address, controller)
    known = _known_key(controller, token)
    try:
        found: dict[str, int] = cache.get_many([pair, place, known])
    except RedisError:
        return Standing()
    refused = found.get(pair, 0) >= PAIR.most or found.get(place, 0) >= ADDRESS.most
    return Standing(refused, known in found)


def failed(*, address: str, controller: str, token: str) -> None:
    """A wrong token was shown."""
    for key in _failure_keys(address, controller):
        _count(key)
    with suppress(RedisError):
        cache.delete(_known_key(controller, token))


def let_in(*, controller: str, token: str) -> None:
    """A token has opened a device."""
    with suppress(RedisError):
        cache.set(_known_key(controller, token), 1, KNOWN_S)


def admits(limit: Limit, device_id: int) -> bool:
    """Count a request of a device; whether it is within its limit."""
    return _count(f"ddi:{limit.name}:{device_id}") <= limit.most


def _known_key(controller: str, token: str) -> str:
    digest = hashlib.sha256(f"{controller}\n{token}".encode()).hexdigest()
    return f"ddi:known:{digest}"


def _failure_keys(address: str, controller: str) -> tuple[str, str]:
    place = _place(address)
    return _key(PAIR, place, controller), _key(ADDRESS, place)


def _place(address: str) -> str:
    """An IPv4 address, or the network of an IPv6 one: a single subscriber has all of a /64."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:  # a Unix socket has none
        return address
    if parsed.version == 4:
        return address
    return str(ipaddress.ip_network((parsed, 64), strict=False))


def _key(limit: Limit, *parts: str) -> str:
    # Hashed: of any length and alphabet.
    return f"ddi:{limit.name}:{hashlib.sha256(chr(10).join(parts).encode()).hexdigest()}"


def _count(key: str) -> int:
    """One more; 0 while nothing can be counted."""
    try:
        return _counted(key)
    except RedisError:
        logger.exception("ddi_uncounted")
        return 0


def _counted(key: str) -> int:
    while True:
        cache.add(key, 0, WINDOW_S)
        try:
            return int(cache.incr(key))
        except ValueError:  # the window ended between the two
            continue
