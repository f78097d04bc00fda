"""Which permission a page asks for."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Concatenate, Final, ParamSpec, cast

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from devices.domain.commands_policy import Actor
from tenants.domain.queries import Access
from tenants.models import User
from tenants.permissions import Permission

Parameters = ParamSpec("Parameters")
# The attribute of a view that `requires` guards; decorators around it keep it.
GUARDED: Final = "wattline_permissions"
# The pages of who bills, which name meters and lead to readings. Customers have bills.view as well,
# for their own bills in the consumer view.
BILLING_OFFICE: Final = (Permission.BILLS_VIEW, Permission.DEVICES_VIEW)
View = Callable[Concatenate[HttpRequest, Parameters], HttpResponseBase]


def access_of(request: HttpRequest) -> Access | None:
    """How the signed-in user acts, as the middleware found out; None without any membership."""
    return cast(Access | None, getattr(request, "access", None))


def may(request: HttpRequest, permission: Permission) -> bool:
    """Whether the user's role includes `permission`."""
    access = access_of(request)
    return access is not None and access.allows(permission)


def may_one(request: HttpRequest, permissions: tuple[Permission, ...]) -> bool:
    """Whether the user's role includes one of `permissions` at least."""
    return any(may(request, permission) for permission in permissions)


def actor_of(request: HttpRequest) -> Actor:
    """Who acts, and what they may; raises PermissionDenied for who is a member of no tenant."""
    access = access_of(request)
    if access is None or not isinstance(request.user, User):
        raise PermissionDenied
    return Actor(request.user.pk, access.permissions)


def requires(
    *permissions: Permission, one: bool = False
) -> Callable[[View[Parameters]], View[Parameters]]:
    """A page for signed-in users whose role includes all of `permissions`, or `one` of them; others
    get 403.
    """

    def decorate(view: View[Parameters]) -> View[Parameters]:
        @wraps(view)
        def guarded(
            request: HttpRequest, *args: Parameters.args, **kwargs: Parameters.kwargs
        ) -> HttpResponseBase:
            enough = any if one else all
            if not enough(may(request, permission) for permission in permissions):
                raise PermissionDenied
            return view(request, *args, **kwargs)

        # Says to the middleware that the page asks for permissions, which impersonation narrows.
        vars(guarded)[GUARDED] = permissions
        return cast(View[Parameters], login_required(guarded))

    return decorate
