"""`manage.py run_bridge`: the process that devices connect to."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from devices.collector import put_loaded_aside
from devices.ingest.bridge import BridgeError, BridgeOptions, run_bridge
from devices.ingest.session import Policy
from devices.ingest.tls import CertificateError, TlsOptions
from devices.management.database import ingest_conninfo


class Command(BaseCommand):
    """Options default to the settings of this copy."""

    help = "Take in messages of devices over TLS and pass them on to the queue."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        policy = Policy()
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
        parser.add_argument("--port", type=int, default=settings.BRIDGE_PORT)
        parser.add_argument("--certificate", type=Path, default=settings.TLS_DIR / "bridge.pem")
        parser.add_argument("--key", type=Path, default=settings.TLS_DIR / "bridge.key")
        parser.add_argument(
            "--client-ca", type=Path, help="accept client certificates signed by this CA"
        )
        parser.add_argument("--tls12", action="store_true", help="accept TLS 1.2 as well")
        parser.add_argument("--window", type=int, default=policy.window)
        parser.add_argument("--ping", type=int, default=policy.ping_s, metavar="SECONDS")
        parser.add_argument("--max-body", type=int, default=policy.max_body, metavar="BYTES")
        parser.add_argument("--max-connections", type=int, default=20_000)
        parser.add_argument("--max-connections-per-address", type=int, default=5_000)
        parser.add_argument("--max-rate", type=int, metavar="BYTES/S", help="per connection")

    def handle(self, *args: object, **options: Any) -> None:
        put_loaded_aside()
        try:
            run_bridge(
                BridgeOptions(
                    host=options["host"],
                    port=options["port"],
                    tls=TlsOptions(
                        certificate=options["certificate"],
                        key=options["key"],
                        client_ca=options["client_ca"],
                        allow_tls12=options["tls12"],
                    ),
                    database_url=ingest_conninfo(),
                    redis_url=settings.REDIS_URL,
                    policy=Policy(
                        window=options["window"],
                        max_body=options["max_body"],
                        ping_s=options["ping"],
                    ),
                    max_connections=options["max_connections"],
                    max_connections_per_address=options["max_connections_per_address"],
                    max_bytes_per_s=options["max_rate"],
                )
            )
        except (BridgeError, CertificateError) as error:
            raise CommandError(f"run_bridge: {error}") from error
