"""Which door is whose: who may no more than a consumer has a home, not a park."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect

from portal.frame.permissions import access_of
from tenants.permissions import PERMISSIONS, Permission, Role


def consumers_to_their_home(
    view: Callable[..., HttpResponseBase],
) -> Callable[..., HttpResponseBase]:
    """Lead whoever may look at readings and otherwise no more than a consumer to `/home/`.

    Support that acts as such a person stays: the consumer view has sign-ins of its own, which
    nobody gets in another's name.
    """

    @wraps(view)
    def led(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponseBase:
        access = access_of(request)
        if (
            access is not None
            and access.allows(Permission.READINGS_VIEW)
            and access.permissions <= PERMISSIONS[Role.CONSUMER]
            and getattr(request, "impersonation", None) is None
        ):
            return redirect("consumer:home")
        return view(request, *args, **kwargs)

    return led
