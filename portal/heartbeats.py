"""Signs of life of the Celery worker and its clock (see `/health/ready`)."""

from __future__ import annotations

import logging
import os
import socket
import threading

import redis
from celery.signals import beat_init, worker_ready, worker_shutting_down
from django.conf import settings

from devices.ingest import heartbeat

logger = logging.getLogger(__name__)

_stop = threading.Event()


def connect() -> None:
    """Lets worker and beat tell that they are alive as soon as they are up."""
    worker_ready.connect(_worker_ready)
    worker_shutting_down.connect(_shutting_down)
    beat_init.connect(_beat_init)


def _worker_ready(**_kwargs: object) -> None:
    _start("worker")


def _beat_init(**_kwargs: object) -> None:
    _start("beat")


def _shutting_down(**_kwargs: object) -> None:
    _stop.set()


def _start(name: str) -> None:
    threading.Thread(target=_run, args=[name], name="heartbeat", daemon=True).start()


def _run(name: str) -> None:
    instance = f"{socket.gethostname()}-{os.getpid()}"
    client = redis.Redis.from_url(settings.REDIS_URL, socket_timeout=heartbeat.INTERVAL_S)
    while True:
        try:
            heartbeat.beat(client, name, instance)
            if _stop.wait(heartbeat.INTERVAL_S):
                heartbeat.clear(client, name, instance)
                return
        except redis.RedisError as error:
            logger.warning("heartbeat of %s could not be written: %s", name, error)
            if _stop.wait(heartbeat.INTERVAL_S):
                return
