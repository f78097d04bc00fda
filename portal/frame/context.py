"""What the base templates show on every page, prepared once a template asks for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject
from django.utils.translation import get_language, get_language_info

from portal.frame import navigation
from portal.frame.brand import ShownBrand, shown_brand
from portal.frame.permissions import access_of


@dataclass(frozen=True, slots=True)
class Language:
    """A language that the portal is offered in, by its own name."""

    code: str
    name: str
    current: bool


@dataclass(frozen=True, slots=True)
class Frame:
    """The frame of one page."""

    groups: tuple[navigation.LinkGroup, ...]
    account: tuple[navigation.Link, ...]
    brand: ShownBrand
    tenant_name: str
    may_switch: bool
    languages: tuple[Language, ...]


def frame(request: HttpRequest) -> dict[str, Any]:
    """`frame`, for the base templates."""
    return {"frame": SimpleLazyObject(lambda: _frame(request))}


def _frame(request: HttpRequest) -> Frame:
    access = access_of(request)
    # What is the person's own is refused to whoever acts as the person: it is not offered.
    own = getattr(request, "impersonation", None) is None
    return Frame(
        groups=navigation.links(request),
        account=navigation.account_links(request) if own else (),
        brand=shown_brand(request),
        tenant_name=access.tenant.name if access else "",
        may_switch=access is not None and access.several,
        languages=_languages() if own else (),
    )


def _languages() -> tuple[Language, ...]:
    current = get_language()
    return tuple(
        Language(code, get_language_info(code)["name_local"], code == current)
        for code, _name in settings.LANGUAGES
    )
