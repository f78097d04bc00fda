"""`manage.py run_dispatcher`: gives commands to devices. Any number of them take turns."""

from __future__ import annotations

import os
import secrets
import signal
import socket
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

from devices.dispatcher import Dispatcher


class Command(BaseCommand):
    """Runs until SIGTERM or SIGINT; then finishes what it has in hand."""

    help = "Give commands to devices, and take what they answer."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--instance",
            default=f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(3)}",
            help="name of this dispatcher, unique among all that share a Redis",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        dispatcher = Dispatcher(settings.REDIS_URL, options["instance"])
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: dispatcher.stop())
        dispatcher.run()
