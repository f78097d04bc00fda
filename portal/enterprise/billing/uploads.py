"""Files between a dry run and taking them: kept for an hour, for whoever brought them alone."""

from __future__ import annotations

import secrets
import zlib
from typing import Final

from django.core.cache import cache
from django.http import HttpRequest

from billing.domain.payments_imports import Upload
from portal.enterprise.registry.requests import actor_id, own_tenant_id

_SECONDS: Final = 3600
_TOKEN: Final = 24


def keep(request: HttpRequest, upload: Upload) -> str:
    """Keep a file; returns the token by which its form asks for it again."""
    token = secrets.token_urlsafe(_TOKEN)
    cache.set(_key(request, token), (upload.name, zlib.compress(upload.data)), _SECONDS)
    return token


def kept(request: HttpRequest, token: str) -> Upload | None:
    """The file of a token, if it is this person's, of this tenant, and not too long ago."""
    found = cache.get(_key(request, token))
    if found is None:
        return None
    name, data = found
    return Upload(name, zlib.decompress(data))


def _key(request: HttpRequest, token: str) -> str:
    # A token is short and of few signs; what else somebody sends finds nothing.
    safe = "".join(sign for sign in token[:64] if sign.isalnum() or sign in "-_")
    return f"statement:{own_tenant_id(request)}:{actor_id(request)}:{safe}"
