"""How many requests a caller may make in a minute, counted in Redis over all web processes.

Every answer to a known caller carries the header fields `RateLimit-Policy` and `RateLimit` of
draft-ietf-httpapi-ratelimit-headers (structured fields: `r` requests are left for `t` seconds), a
refused one `Retry-After` as well.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from django.conf import settings
from redis import Redis
from redis.exceptions import RedisError
from rest_framework.request import Request
from rest_framework.throttling import BaseThrottle

from portal.oauth.bearer import Bearer
from portal.pools import SharedPool

if TYPE_CHECKING:
    # Its module reads the settings, which name the class below.
    from rest_framework.views import APIView

logger = logging.getLogger(__name__)

WINDOW_S: Final = 60
_KEY: Final = "api:requests:{caller}:{window}"


@dataclass(frozen=True, slots=True)
class Quota:
    """What the caller has left: `remaining` requests until `resets_s` from now."""

    limit: int
    remaining: int
    resets_s: int
    exceeded: bool

    def headers(self) -> dict[str, str]:
        """The header fields of an answer."""
        return {
            "RateLimit-Policy": f'"minute";q={self.limit};w={WINDOW_S}',
            "RateLimit": f'"minute";r={self.remaining};t={self.resets_s}',
        }


class MinuteThrottle(BaseThrottle):
    """One window of a minute for each user or application, by the clock of this machine."""

    quota: Quota | None = None

    def allow_request(self, request: Request, view: APIView) -> bool:
        """Counts the request; False when the caller has used up the minute.

        While Redis is away nothing is counted and everybody let in: a limit is no reason to answer
        nobody.
        """
        caller = caller_of(request)
        if caller is None:
            return True
        try:
            self.quota = take(caller, now=time.time(), limit=settings.API_REQUESTS_PER_MINUTE)
        except RedisError as error:
            logger.warning("request_not_counted caller=%s error=%s", caller, error)
            return True
        request.quota = self.quota  # type: ignore[attr-defined] # for the headers of the answer
        return not self.quota.exceeded

    def wait(self) -> float | None:
        """Seconds until the next minute."""
        return None if self.quota is None else float(self.quota.resets_s)


def caller_of(request: Request) -> str | None:
    """Whose requests are counted together; None for nobody, who reaches public routes alone."""
    if isinstance(request.auth, Bearer):
        # The users of an application do not use up each other's minute.
        return f"application:{request.auth.application_id}:{request.auth.user_id or ''}"
    return f"user:{request.user.pk}" if request.user.is_authenticated else None


def take(caller: str, *, now: float, limit: int) -> Quota:
    """Count one request of `caller` at `now` (Unix time); one round trip."""
    window = int(now) // WINDOW_S
    key = _KEY.format(caller=caller, window=window)
    with _redis(settings.REDIS_URL).pipeline(transaction=False) as pipeline:
        pipeline.incr(key)
        pipeline.expire(key, 2 * WINDOW_S)
        used = int(pipeline.execute()[0])
    resets_s = WINDOW_S - int(now) % WINDOW_S
    return Quota(limit, max(0, limit - used), resets_s, used > limit)


@lru_cache
def _redis(url: str) -> Redis:
    """One client a process, safe to share: making one costs as much as asking it."""
    return Redis(connection_pool=SharedPool.from_url(url))
