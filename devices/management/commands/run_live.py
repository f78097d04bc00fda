"""`manage.py run_live`: passes the readings of watched devices on to the web processes."""

from __future__ import annotations

import asyncio
import os
import signal
import socket

import uvloop
from django.conf import settings
from django.core.management.base import BaseCommand
from redis.asyncio import Redis

from devices.collector import put_loaded_aside
from devices.live import LiveReader


class Command(BaseCommand):
    """Runs until SIGTERM or SIGINT."""

    help = "Passes the readings of watched devices on to the web processes"
    requires_system_checks: list[str] = []

    def handle(self, *args: object, **options: object) -> None:
        """Run the reader."""
        put_loaded_aside()
        uvloop.run(_run())


async def _run() -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    redis = Redis.from_url(settings.REDIS_URL)
    try:
        await LiveReader(redis, f"{socket.gethostname()}-{os.getpid()}").run(stop)
    finally:
        await redis.aclose()
