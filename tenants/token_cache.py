"""What is known of access tokens, in Redis, so that a token check costs one look-up.

A revoked token leaves a tombstone behind for as long as the cache could still hold it: one that
reads the database just before a revocation and stores what it found just after it finds the place
taken (`add` never overwrites), so a revocation is effective at once and stays so.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from django.core.cache import cache
from django.db import transaction

# How long an entry may be believed: changes of roles and grants that nobody announced (see
# `forget`) are effective after this time.
ENTRY_S: Final = 30
# A tombstone outlives every look-up that may have begun before it.
TOMBSTONE_S: Final = 120

_REVOKED: Final = "revoked"


class Revoked(Exception):  # noqa: N818 - it reads as what happened
    """The token was revoked a moment ago."""


def _key(checksum: str) -> str:
    # Another shape of what is stored is another key.
    return f"oauth-bearer:{checksum}"


def find(checksum: str) -> Any:
    """What was stored for the token with this SHA-256, None when nothing was; raises Revoked."""
    found = cache.get(_key(checksum))
    if found == _REVOKED:
        raise Revoked
    return found


def store(checksum: str, facts: Any) -> None:
    """Remember a token for `ENTRY_S` seconds, unless it has been revoked meanwhile."""
    cache.add(_key(checksum), facts, timeout=ENTRY_S)


def revoke(checksums: Iterable[str]) -> None:
    """Make tokens invalid in every process, once the current transaction is committed."""
    tombstones = {_key(checksum): _REVOKED for checksum in checksums}
    if tombstones:
        transaction.on_commit(lambda: _bury(tombstones))


def _bury(tombstones: dict[str, str]) -> None:
    cache.set_many(tombstones, timeout=TOMBSTONE_S)


def forget(checksums: Iterable[str]) -> None:
    """Have tokens looked up again, once the current transaction is committed: the role or the
    facilities of their user changed.
    """
    keys = [_key(checksum) for checksum in checksums]
    if keys:
        transaction.on_commit(lambda: cache.delete_many(keys))
