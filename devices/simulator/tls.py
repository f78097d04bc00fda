"""TLS of a device: one pinned authority, and sessions that are resumed."""

from __future__ import annotations

import ssl
from pathlib import Path


def client_tls(ca_file: Path, certificate: Path | None = None) -> ssl.SSLContext:
    """A context that trusts nobody but the pinned authority; shared by all devices of a process.

    `certificate` is a PEM file with the device's own certificate and key, for servers that ask.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(cafile=ca_file)
    if certificate is not None:
        context.load_cert_chain(certificate)
    return context


class ResumableContext:
    """A context that offers the last TLS session again: asyncio has no parameter for it."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self.session: ssl.SSLSession | None = None

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | bytes | None = None,
        session: ssl.SSLSession | None = None,
    ) -> ssl.SSLObject:
        return self._context.wrap_bio(
            incoming,
            outgoing,
            server_side=server_side,
            server_hostname=server_hostname,
            session=session or self.session,
        )

    def __getattr__(self, name: str) -> object:
        return getattr(self._context, name)
