"""Who acts, and in which tenant."""

from __future__ import annotations

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, QueryDict

from portal.frame.permissions import access_of
from tenants.models import User


def actor_id(request: HttpRequest) -> int:
    """The signed-in user."""
    assert isinstance(request.user, User)
    return request.user.pk


def own_tenant_id(request: HttpRequest) -> int:
    """The tenant that the user works in at the moment."""
    access = access_of(request)
    if access is None:
        raise PermissionDenied
    return access.tenant.tenant_id


def posted(request: HttpRequest) -> QueryDict | None:
    """What a form is bound to: None unless it was sent. An empty POST is a form sent empty."""
    return request.POST if request.method == "POST" else None


def chosen_ids(request: HttpRequest, name: str) -> list[int]:
    """The numbers that a list's boxes sent; what is no number is left out."""
    values = request.POST.getlist(name) if request.method == "POST" else request.GET.getlist(name)
    return [
        int(value) for value in values if value.isascii() and value.isdigit() and len(value) < 19
    ]
