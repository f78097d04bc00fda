"""Tokens of controllers: how they are drawn, kept and compared."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

# 32 characters, as hawkBit's own have: Zephyr's client keeps no more of one that is set in it.
_BYTES: Final = 24
_MOST_CHARS: Final = 256
# Compared with where there is nothing to compare with, so that both take the same time.
_NOTHING: Final = bytes(32)


class TokenKind(StrEnum):
    """A device's own token, or that of a gateway, which speaks for all devices of a tenant."""

    TARGET = "targettoken"
    GATEWAY = "gatewaytoken"


@dataclass(frozen=True, slots=True)
class Presented:
    """The token of a request."""

    kind: TokenKind
    value: str

    def opens(self, *, target: bytes | None, gateway: bytes | None) -> bool:
        """Whether it is the one whose SHA-256 is known."""
        known = target if self.kind is TokenKind.TARGET else gateway
        same = hmac.compare_digest(digest(self.value), bytes(known or _NOTHING))
        return same and known is not None


def draw() -> str:
    """A new token of 192 random bits, in characters that need no quoting anywhere."""
    return secrets.token_urlsafe(_BYTES)


def digest(token: str) -> bytes:
    """What is kept of a token."""
    return hashlib.sha256(token.encode()).digest()


def read_authorization(header: str) -> Presented | None:
    """The token of an `Authorization` header; None when it holds none of DDI."""
    kind, _, value = header.strip().partition(" ")
    value = value.strip()
    if not value or len(value) > _MOST_CHARS or kind.lower() not in list(TokenKind):
        return None
    return Presented(TokenKind(kind.lower()), value)
