"""What bridges are told when the record of a device has changed."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import partial

from django.conf import settings
from django.db import transaction
from redis import Redis
from redis.exceptions import RedisError

from devices.domain.operations import Eviction

logger = logging.getLogger(__name__)


def evict_after_commit(evictions: Iterable[Eviction | None]) -> None:
    """Let all bridges drop these devices' connections and what they remember, after the commit."""
    due = [eviction for eviction in evictions if eviction is not None]
    if due:
        transaction.on_commit(partial(_publish, due))


def _publish(evictions: list[Eviction]) -> None:
    """Lossy on purpose: a bridge asks for the state of a connected device by itself, too."""
    try:
        with Redis.from_url(settings.REDIS_URL, socket_timeout=5) as redis:
            for eviction in evictions:
                redis.publish(eviction.channel, eviction.payload)
    except RedisError as error:
        logger.warning("evictions_lost devices=%d reason=%r", len(evictions), str(error))
