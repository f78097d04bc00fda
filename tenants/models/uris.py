"""Which addresses an application may register."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from django.utils.translation import gettext as _

# An international host is written as the DNS has it (xn--…). The origin goes into the policy of our
# own pages (CSP), where a semicolon or a letter beyond ASCII would break the rest of it.
_PRINTABLE: Final = re.compile(r"[!-~]+")
_HOST: Final = re.compile(r"([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?")
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


def check_redirect(uri: str) -> str | None:
    """Why a browser must not be sent to `uri`; None when it may.

    Allowed are https, http on the own machine, and the private schemes of native applications,
    which contain a dot (RFC 8252, section 7.1).
    """
    try:
        parts = urlsplit(uri)
        host, _port = parts.hostname, parts.port
    except ValueError:
        return _("%(uri)s is not an address.") % {"uri": uri}
    if not _PRINTABLE.fullmatch(uri) or "\\" in uri:
        return _("%(uri)s is not an address.") % {"uri": uri}
    if "#" in uri or "@" in parts.netloc or "*" in uri:
        return _("%(uri)s must have no fragment, no user and no wildcard.") % {"uri": uri}
    if parts.netloc and not _HOST.fullmatch(parts.netloc):
        return _("%(uri)s is not an address.") % {"uri": uri}
    if parts.scheme == "https" and host:
        return None
    if parts.scheme == "http" and host in _LOOPBACK:
        return None
    if "." in parts.scheme and not parts.netloc:
        return None
    return _("%(uri)s must begin with https://.") % {"uri": uri}


def check_callback(uri: str, *, https: bool) -> str | None:
    """Why the portal must not send notices to `uri`; None when it may.

    With `https`, as an installation in earnest is, the own machine is no recipient.
    """
    problem = check_redirect(uri)
    if problem is None and urlsplit(uri).scheme not in ({"https"} if https else {"https", "http"}):
        return _("%(uri)s must begin with https://.") % {"uri": uri}
    return problem
