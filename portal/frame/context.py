"""What the base templates show on every page, prepared once a template asks for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from portal.frame import navigation
from portal.frame.permissions import access_of


@dataclass(frozen=True, slots=True)
class Frame:
    """The frame of one page."""

    groups: tuple[navigation.LinkGroup, ...]
    tenant_name: str


def frame(request: HttpRequest) -> dict[str, Any]:
    """`frame`, for the base templates."""
    return {"frame": SimpleLazyObject(lambda: _frame(request))}


def _frame(request: HttpRequest) -> Frame:
    access = access_of(request)
    return Frame(
        groups=navigation.links(request),
        tenant_name=access.tenant.name if access else "",
    )
