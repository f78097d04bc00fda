"""The address that a request comes from, behind proxies too."""

from __future__ import annotations

import ipaddress

from django.conf import settings
from django.http import HttpRequest


def client_address(request: HttpRequest) -> str:
    """The IP address of the client.

    Each of our own proxies (`WATTLINE_PROXIES` says how many there are) appends to X-Forwarded-For
    whom it was called by, so the client stands that many places from the end; what stands further
    left is the client's own claim. Without a proxy, or where the header is too short or no address,
    it is the address of the connection; empty on a Unix socket.
    """
    if settings.PROXIES:
        hops = [hop.strip() for hop in request.headers.get("X-Forwarded-For", "").split(",")]
        if len(hops) >= settings.PROXIES:
            try:
                return str(ipaddress.ip_address(hops[-settings.PROXIES]))
            except ValueError:
                pass
    return str(request.META.get("REMOTE_ADDR", ""))
