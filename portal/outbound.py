"""Requests to addresses that people of a tenant have typed."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import threading
from typing import Any, Final
from urllib.parse import urlsplit

import requests
import urllib3
from django.conf import settings
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

_TIMEOUT_S: Final = (3.05, 5)
# For everything from the connection to the last byte: the limits above begin anew with each byte,
# so an address that sends one every few seconds could hold a thread for days.
WHOLE_S: Final = 10.0
MAX_BYTES: Final = 1_000_000
# Public by their form, and yet the way to an IPv4 address that they contain (NAT64, 6to4 and the
# like), or to a site of one's own.
_TRANSLATED: Final = tuple(
    ipaddress.IPv6Network(network)
    for network in ("64:ff9b::/96", "2002::/16", "::/96", "::ffff:0:0:0/96", "fec0::/10")
)


class AddressRefused(requests.RequestException):
    """The address lies inside our own network, or answers with a redirect or with too much."""


class _Guarded(HTTPConnection):
    """A connection to a public address that ends after WHOLE_S, whatever the other side does.

    The address looked at is the one that is connected to: a name that has another one by then
    (DNS rebinding) gains nothing. Nothing has been sent yet.
    """

    _guard: socket.socket | None = None
    _timer: threading.Timer | None = None

    def _new_conn(self) -> socket.socket:
        sock = super()._new_conn()
        try:
            if _public_alone():
                _require_public(self.host, str(sock.getpeername()[0]))
            # A copy, since TLS takes the socket itself over.
            self._guard = sock.dup()
        except BaseException:
            sock.close()
            raise
        self._timer = threading.Timer(WHOLE_S, _shut, [self._guard])
        self._timer.daemon = True
        self._timer.start()
        return sock

    def close(self) -> None:
        """Close the connection."""
        if self._timer is not None and self._guard is not None:
            self._timer.cancel()
            self._guard.close()
        self._timer = self._guard = None
        super().close()


class _GuardedTls(_Guarded, HTTPSConnection):
    """The same, over TLS."""


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Guarded


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _GuardedTls


class _Public(HTTPAdapter):
    """Reaches public addresses alone, as long as the installation is one in earnest.

    Else an administrator of a tenant could have the portal ask what only the portal can reach, such
    as the metadata service of a cloud. Every address of the name must be public.
    """

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Connections as above."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:  # type: ignore[override]
        """Send, without following anything, and read up to MAX_BYTES."""
        parts = urlsplit(request.url or "")
        if _public_alone():
            if parts.scheme != "https":
                raise AddressRefused("only https is reached")
            _require_public_name(str(parts.hostname), parts.port or 443)
        kwargs["stream"] = True
        response = super().send(request, **kwargs)
        try:
            if response.is_redirect:
                raise AddressRefused("redirects are not followed")
            content = response.raw.read(MAX_BYTES + 1, decode_content=True)
        except (OSError, urllib3.exceptions.HTTPError) as error:
            raise AddressRefused(f"the answer breaks off: {error}") from error
        finally:
            # Not given back to the pool: its time runs out.
            response.raw.close()
            response.close()
        if len(content) > MAX_BYTES:
            raise AddressRefused("the answer is too long")
        response._content = content  # noqa: SLF001 - what `content` of the response gives
        return response


def _shut(guard: socket.socket) -> None:
    """Have whoever reads or writes find the connection at its end."""
    with contextlib.suppress(OSError):  # it has ended by itself
        guard.shutdown(socket.SHUT_RDWR)


def _public_alone() -> bool:
    return bool(settings.HTTPS and not settings.PRIVATE_ISSUERS)


def _require_public_name(host: str, port: int) -> None:
    """Before anything is connected to: an open door in our network is not even knocked at."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise AddressRefused(f"{host} has no address") from error
    for *_rest, place in found:
        _require_public(host, str(place[0]))


def _require_public(host: str, place: str) -> None:
    address = ipaddress.ip_address(place.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    reached = mapped or address
    if not reached.is_global or reached.is_multicast or any(reached in net for net in _TRANSLATED):
        raise AddressRefused(f"{host} lies inside our own network")


class Session(requests.Session):
    """A session with limits of time and size, without proxies, cookies and redirects."""

    def __init__(self) -> None:
        super().__init__()
        self.trust_env = False
        for scheme in ("https://", "http://"):
            self.mount(scheme, _Public())

    def request(self, *args: Any, **kwargs: Any) -> requests.Response:
        """One request."""
        kwargs.setdefault("timeout", _TIMEOUT_S)
        kwargs["allow_redirects"] = False
        return super().request(*args, **kwargs)
