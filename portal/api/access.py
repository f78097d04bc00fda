"""What a route asks for: served methods, permissions and OAuth scopes, declared on its view.

A view that declares nothing refuses everybody, and a system check names it (`checks.py`). The
permission class below is the default of the whole framework, so that a view which knows nothing of
all this refuses as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast

from rest_framework.exceptions import MethodNotAllowed, PermissionDenied
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from portal.oauth.bearer import Bearer
from tenants.domain.queries import Access
from tenants.permissions import Permission, Role

if TYPE_CHECKING:
    # Its module reads the settings, which name the class below.
    from rest_framework.views import APIView


@dataclass(frozen=True, slots=True)
class Requires:
    """What a caller needs: all of `permissions`, and all of `scopes` when it comes by a token.

    Nothing in both means: whoever is a member of a tenant.
    """

    permissions: tuple[Permission, ...] = ()
    scopes: tuple[str, ...] = ()


# For routes without any data of tenants.
PUBLIC: Final = "public"

Declaration = Mapping[str, Requires | str]


class InsufficientScope(PermissionDenied):
    """The token lacks a scope (RFC 6750, section 3.1)."""

    default_code = "insufficient_scope"

    def __init__(self, scopes: tuple[str, ...]) -> None:
        super().__init__(f"The access token needs the scope {' '.join(scopes)}.")
        self.scopes = scopes


class NoMembership(PermissionDenied):
    """Signed in, but a member of no tenant."""

    default_detail = "You are a member of no tenant: ask an administrator for an invitation."
    default_code = "no_membership"


def declaration_of(view: object) -> Declaration:
    """Method → what it asks for; empty when the view declares nothing."""
    return cast(Declaration, getattr(view, "access", None) or {})


def access_of(request: Request) -> Access | Bearer | None:
    """How the caller acts: by its token, or as the middleware found out of the session."""
    if request.auth is not None:
        return cast(Bearer, request.auth)
    return cast(Access | None, getattr(request, "access", None))


def tenant_of(access: Access | Bearer) -> int:
    """The tenant that the caller acts in."""
    return access.tenant_id if isinstance(access, Bearer) else access.tenant.tenant_id


def scopes_of(request: Request) -> frozenset[str] | None:
    """The scopes of the access token; None for a signed-in browser, which no scope limits."""
    return cast(Bearer, request.auth).scopes if request.auth is not None else None


def own_alone(request: Request) -> int | None:
    """Whose bills and agreements alone the caller may see: a consumer, who has the facility that
    others had before, sees what is made out to that person. None: all in reach.
    """
    access = access_of(request)
    if isinstance(access, Bearer):
        return access.user_id if access.role == Role.CONSUMER else None
    if access is None or access.membership.role != Role.CONSUMER:
        return None
    return access.membership.user_id


class DeclaredAccess(BasePermission):
    """Lets in who has what the view declares for the method; nobody where it declares nothing."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        """True or False as DRF wants it; raises where the answer can say more."""
        declared = declaration_of(view)
        if not declared:
            return False
        method = "GET" if request.method == "HEAD" else request.method
        required = declared.get(method or "")
        if required is None:
            raise MethodNotAllowed(method or "")
        if required == PUBLIC:
            return True
        return isinstance(required, Requires) and self._has(request, required)

    def _has(self, request: Request, required: Requires) -> bool:
        if not request.user.is_authenticated:
            return False
        access = access_of(request)
        if access is None:
            raise NoMembership
        granted = scopes_of(request)
        if granted is not None and not granted.issuperset(required.scopes):
            raise InsufficientScope(required.scopes)
        return all(access.allows(permission) for permission in required.permissions)
