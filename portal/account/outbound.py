"""Requests to addresses that people of a tenant have typed."""

from __future__ import annotations

import ipaddress
import socket
from typing import Any, Final
from urllib.parse import urlsplit

import requests
from django.conf import settings
from requests.adapters import HTTPAdapter

_TIMEOUT_S: Final = (3.05, 5)
MAX_BYTES: Final = 1_000_000


class AddressRefused(requests.RequestException):
    """The address lies inside our own network, or answers with a redirect or with too much."""


class _Public(HTTPAdapter):
    """Reaches public addresses alone, as long as the installation is one in earnest.

    Else an administrator of a tenant could have the portal ask what only the portal can reach, such
    as the metadata service of a cloud. Every address of the name must be public.
    """

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:  # type: ignore[override]
        """Send, without following anything, and read up to MAX_BYTES."""
        parts = urlsplit(request.url or "")
        if settings.HTTPS and not settings.PRIVATE_ISSUERS:
            if parts.scheme != "https":
                raise AddressRefused("only https is reached")
            _require_public(str(parts.hostname), parts.port or 443)
        kwargs["stream"] = True
        response = super().send(request, **kwargs)
        if response.is_redirect:
            response.close()
            raise AddressRefused("redirects are not followed")
        content = response.raw.read(MAX_BYTES + 1, decode_content=True)
        response.close()
        if len(content) > MAX_BYTES:
            raise AddressRefused("the answer is too long")
        response._content = content  # noqa: SLF001 - what `content` of the response gives
        return response


def _require_public(host: str, port: int) -> None:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise AddressRefused(f"{host} has no address") from error
    for *_rest, place in found:
        address = ipaddress.ip_address(str(place[0]).partition("%")[0])
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        if not (mapped or address).is_global:
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
