"""Scopes as the pages of the provider show them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from tenants.permissions import ACCESS_SCOPES

_ICONS: Final = {
    "openid": "id-badge-2",
    "profile": "user",
    "email": "mail",
    "facilities:read": "building-community",
    "devices:read": "cpu",
    "devices:derive": "adjustments",
    "firmware:read": "cpu",
    "firmware:write": "upload",
    "rollouts:write": "send",
    "policies:write": "shield-check",
    "readings:read": "chart-line",
    "readings:correct": "edit",
    "readings:export": "download",
    "bills:read": "file-invoice",
    "bills:write": "file-invoice",
    "tariffs:read": "receipt",
    "tariffs:write": "receipt",
    "payments:read": "credit-card",
    "payments:write": "credit-card",
}


@dataclass(frozen=True, slots=True)
class ShownScope:
    """What an application may do, in words, with an icon of the sprite."""

    label: str
    icon: str


def shown(names: Iterable[str]) -> list[ShownScope]:
    """The scopes in words; a name that is no scope any more is left out."""
    return [
        ShownScope(str(ACCESS_SCOPES[name].label), _ICONS.get(name, "check"))
        for name in names
        if name in ACCESS_SCOPES
    ]
