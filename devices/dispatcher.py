"""The dispatcher: gives commands to devices and takes their answers.

It looks each second at what is due, and at once when something is asked for. All that it knows is
in the database: it can be killed at any moment, and several beside each other take turns.
"""

from __future__ import annotations

import logging
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Final

from django.db import InterfaceError, OperationalError, connection
from redis import Redis
from redis.client import PubSub
from redis.exceptions import RedisError

from devices.domain import commands_dispatch, reconciliation
from devices.ingest import queue
from devices.ingest.heartbeat import INTERVAL_S, beat, clear
from tenants.domain.queries import all_tenant_ids
from tenants.scope import Scope, open_scope

logger = logging.getLogger(__name__)

NAME: Final = "dispatcher"
LOOK_S: Final = 1.0
# While devices are answering, nobody tells when an answer has been stored.
BUSY_LOOK_S: Final = 0.1
BUSY_FOR_S: Final = 10.0
# A look at what has moved costs nothing for commands that wait for devices which are away; all that
# is open is looked at so often, whatever was missed.
EVERYTHING_S: Final = 60.0
# How much later than its instant something may be saved and still be seen at once.
OVERLAP: Final = timedelta(seconds=30)
_RETRY_FIRST_S: Final = 0.2
_RETRY_LAST_S: Final = 5.0


class Dispatcher:
    """One process's work, until `stop` is called (from a signal handler, too)."""

    def __init__(self, redis_url: str, instance: str) -> None:
        self._redis = Redis.from_url(
            redis_url, socket_timeout=5, socket_connect_timeout=5, health_check_interval=30
        )
        self._instance = instance
        self._stopped = threading.Event()
        self._notices: PubSub | None = None
        self._beaten = 0.0
        self._busy_until = 0.0
        # Since when what has moved is looked at; None: everything is.
        self._since: datetime | None = None
        self._everything_at = 0.0
        self.counters = {"answers": 0, "given_up": 0, "looked_at": 0, "sent": 0, "errors": 0}

    def stop(self) -> None:
        """Finish the transaction in hand, then return from `run`."""
        self._stopped.set()

    def run(self) -> None:
        """Work until stopped; survives the loss of the database and of Redis."""
        retry_s = _RETRY_FIRST_S
        while not self._stopped.is_set():
            try:
                worked = self.work()
            except (OperationalError, InterfaceError) as error:
                self.counters["errors"] += 1
                logger.warning("dispatcher.database_lost reason=%r", str(error).strip())
                connection.close()
                self._beat()
                self._stopped.wait(retry_s)
                retry_s = min(_RETRY_LAST_S, retry_s * 2)
                continue
            retry_s = _RETRY_FIRST_S
            self._beat()
            if worked:
                self._busy_until = time.monotonic() + BUSY_FOR_S
            else:
                self._wait()
        self._end()

    def work(self) -> bool:
        """One round: answers, what is over, settings that differ, what is due; whether there was
        anything.
        """
        now = datetime.now(UTC)
        since = self._since if time.monotonic() < self._everything_at else None
        self._since = None  # unless this round comes to its end
        scope = Scope(all_tenant_ids())
        with open_scope(scope):
            answers = commands_dispatch.take_answers(now=now)
        with open_scope(scope):
            given_up = commands_dispatch.give_up(now=now, since=since)
        with open_scope(scope):
            looked_at = reconciliation.advance(now=now, since=since)
        with open_scope(scope):
            sent = commands_dispatch.send_due(now=now, since=since)
        if looked_at >= reconciliation.MOST_DEVICES or sent >= commands_dispatch.MOST_SENT:
            self._since = since  # there may be more of the same
        else:
            self._since = now - OVERLAP
            if since is None:
                self._everything_at = time.monotonic() + EVERYTHING_S
        self.counters["answers"] += answers
        self.counters["given_up"] += given_up
        self.counters["looked_at"] += looked_at
        self.counters["sent"] += sent
        return bool(answers or given_up or looked_at or sent)

    def _wait(self) -> None:
        """Until a notice comes, or it is time to look again."""
        wait_s = BUSY_LOOK_S if time.monotonic() < self._busy_until else LOOK_S
        try:
            if self._notices is None:
                notices = PubSub(self._redis.connection_pool, ignore_subscribe_messages=True)
                notices.subscribe(queue.COMMANDS_CHANNEL)
                self._notices = notices
                return  # something may have been asked for before this
            if self._notices.get_message(timeout=wait_s) is not None:
                # One look serves all notices that are there.
                while self._notices.get_message() is not None:
                    pass
        except RedisError as error:
            logger.warning("dispatcher.redis_lost reason=%r", str(error))
            self._notices = None
            self._stopped.wait(LOOK_S)

    def _beat(self) -> None:
        if time.monotonic() - self._beaten < INTERVAL_S:
            return
        try:
            beat(self._redis, NAME, self._instance, self.counters)
            self._beaten = time.monotonic()
        except RedisError as error:
            logger.warning("dispatcher.redis_lost reason=%r", str(error))

    def _end(self) -> None:
        connection.close()
        try:
            clear(self._redis, NAME, self._instance)
        except RedisError as error:
            logger.warning("dispatcher.redis_lost reason=%r", str(error))
        self._redis.close()
