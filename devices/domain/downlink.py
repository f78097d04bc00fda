"""Messages to devices, by way of the bridge that each is connected to."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Final

from django.conf import settings
from django.db import transaction
from redis import Redis
from redis.exceptions import RedisError

from devices.ingest import queue

logger = logging.getLogger(__name__)

# Notices in one round trip, so that thousands of messages do not lie in memory twice.
_AT_ONCE: Final = 500


def send(messages: Iterable[tuple[int, bytes]]) -> None:
    """Publish sealed messages of the protocol, each to a device, once the transaction has ended.

    Lossy: a device that is not connected at that moment gets nothing, and nobody is told. Who sends
    sends again until something durable has come back. When Redis is away, all of them are lost, and
    a log line says so.
    """
    notices = [queue.encode_downlink(device_id, message) for device_id, message in messages]
    if notices:
        transaction.on_commit(lambda: _publish(notices))


def wake_dispatchers() -> None:
    """Tell the dispatchers, once the transaction has ended, that a command was queued. Lossy: they
    look each second anyway.
    """
    transaction.on_commit(_wake)


def _wake() -> None:
    try:
        with Redis.from_url(settings.REDIS_URL) as redis:
            redis.publish(queue.COMMANDS_CHANNEL, b"")
    except RedisError as error:
        logger.warning("dispatchers.not_woken reason=%r", str(error))


def _publish(notices: list[bytes]) -> None:
    try:
        with Redis.from_url(settings.REDIS_URL) as redis:
            for at in range(0, len(notices), _AT_ONCE):
                pipe = redis.pipeline(transaction=False)
                for notice in notices[at : at + _AT_ONCE]:
                    pipe.publish(queue.DOWNLINK_CHANNEL, notice)
                pipe.execute()
    except RedisError as error:
        # The transaction has ended and cannot fail any more.
        logger.warning("downlink.lost messages=%d reason=%r", len(notices), str(error))
