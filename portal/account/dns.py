"""Looking up TXT records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import dns.exception
import dns.resolver
from django.conf import settings
from django.utils.translation import gettext as _

_LIFETIME_S: Final = 5.0


class DnsUnavailable(Exception):  # noqa: N818 - it reads as what happened
    """The name servers did not answer; the text says so."""


def texts(name: str) -> Sequence[str]:
    """The TXT records of a name, each as one text (RFC 7208, section 3.3); empty without any.

    Raises DnsUnavailable.
    """
    try:
        answer = _resolver().resolve(name, "TXT", search=False)
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        return ()
    except dns.exception.DNSException as error:
        raise DnsUnavailable(
            _("The name servers of the domain do not answer. Try again in some minutes.")
        ) from error
    records = [b"".join(record.strings) for record in answer]
    return tuple(record.decode("utf-8", errors="replace").strip() for record in records)


def _resolver() -> dns.resolver.Resolver:
    """The system's resolver, or the one of `DNS_RESOLVER` (`address` or `address:port`)."""
    if not settings.DNS_RESOLVER:
        resolver = dns.resolver.Resolver()
    else:
        resolver = dns.resolver.Resolver(configure=False)
        address, _colon, port = settings.DNS_RESOLVER.rpartition(":")
        resolver.nameservers = [address or port]
        resolver.port = int(port) if address else 53
    resolver.lifetime = _LIFETIME_S
    resolver.cache = None
    return resolver
