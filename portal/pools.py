"""Connections to Redis, shared by all threads of a process.

Django keeps a cache client for each thread, and under ASGI every request runs in a thread of its
own: without this each would connect, authenticate and introduce itself anew, which took longer
than all the rest of a small request.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Self

from django.core.cache.backends.redis import RedisCache, RedisCacheClient
from redis import ConnectionPool, Redis


class SharedClient(RedisCacheClient):
    """Asks by one client for each pool, which threads may share: making one for every look-up, as
    Django does, cost as much as the look-up.
    """

    def get_client(self, key: Any = None, *, write: bool = False) -> Redis:
        """The client for `key`."""
        del key
        return _client(self._get_connection_pool(write))  # type: ignore[attr-defined] # its stub


class SharedCache(RedisCache):
    """Django's cache in Redis, with what threads may share shared."""

    def __init__(self, server: str, params: dict[str, Any]) -> None:
        super().__init__(server, params)
        self._class = SharedClient


class SharedPool(ConnectionPool):
    """The `pool_class` of the cache: one pool for each server, whoever asks."""

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Self:
        """The pool of the server at `url`, made by the first who asks."""
        pool: Self = _pool(cls, url, tuple(sorted(options.items())))
        return pool

    @classmethod
    def make(cls, url: str, options: tuple[tuple[str, Any], ...]) -> Self:
        """A new pool."""
        return super().from_url(url, **dict(options))


@lru_cache
def _client(pool: ConnectionPool) -> Redis:
    return Redis(connection_pool=pool)


@lru_cache
def _pool(pool_class: type[SharedPool], url: str, options: tuple[tuple[str, Any], ...]) -> Any:
    return pool_class.make(url, options)
