"""`manage.py run_writer`: stores what lies in the queue. Any number of them share the work."""

from __future__ import annotations

import os
import secrets
import signal
import socket
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from devices.collector import put_loaded_aside
from devices.ingest.writer import Writer, WriterOptions
from devices.management.database import ingest_conninfo


class Command(BaseCommand):
    """Runs until SIGTERM or SIGINT; then finishes its batch and gives its partitions back."""

    help = "Store what the bridges have queued in TimescaleDB."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--instance",
            default=f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}",
            help="name of this writer, unique among all that share a Redis",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        writer = Writer(
            WriterOptions(
                database_url=ingest_conninfo(),
                redis_url=settings.REDIS_URL,
                instance=options["instance"],
            )
        )
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: writer.stop())
        put_loaded_aside()
        writer.run()
