"""Limits on wrong passwords.

An attempt is counted before its password is looked at, so that guesses sent at once do not slip
through together, and given back when it was right. Counters live in the cache; an attempt that is
refused costs neither a look-up nor a password hash.
"""

from __future__ import annotations

import hashlib
import ipaddress
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from django.core.cache import cache

from tenants.models import User


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `failures` wrong passwords in a window, which opens with the first of them."""

    name: str
    failures: int
    window: timedelta


# Somebody who mistypes, and only at their own place: nobody else can lock them out so easily.
PAIR: Final = Limit("pair", 5, timedelta(minutes=5))
# One place that tries many accounts; an office behind one address has room for its mistypings.
ADDRESS: Final = Limit("address", 50, timedelta(minutes=5))
# Many places that try one account: OWASP ASVS 2.2.1 allows 100 in an hour.
ACCOUNT: Final = Limit("account", 100, timedelta(hours=1))


class Attempt:
    """One attempt to sign in from `address` as `email`, as its three counters see it."""

    def __init__(self, *, address: str, email: str) -> None:
        place, account = _place(address), User.objects.normalize_email(email)
        self._keys = {
            PAIR: _key(PAIR, place, account),
            ADDRESS: _key(ADDRESS, place),
            ACCOUNT: _key(ACCOUNT, account),
        }

    def begin(self) -> Limit | None:
        """Count the attempt; returns the limit that refuses it, None when it may go on."""
        for limit, key in self._keys.items():
            if _count(key, limit.window) > limit.failures:
                return limit
        return None

    def succeeded(self) -> None:
        """Give the attempt back, and forget the mistypings before it."""
        cache.delete(self._keys.pop(PAIR))
        for key in self._keys.values():
            try:
                cache.decr(key)
            except ValueError:  # its window has ended meanwhile
                continue


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
    # Hashed: of any length and alphabet, and no address of a person in the cache.
    digest = hashlib.sha256("\n".join(parts).encode()).hexdigest()
    return f"signin:{limit.name}:{digest}"


def _count(key: str, window: timedelta) -> int:
    seconds = int(window.total_seconds())
    while True:
        cache.add(key, 0, seconds)
        try:
            count = int(cache.incr(key))
        except ValueError:  # the window ended between the two
            continue
        if count <= 1:  # should it have ended inside `incr`, which looks and then counts
            cache.touch(key, seconds)
        return count
