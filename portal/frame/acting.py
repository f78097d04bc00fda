"""As whom and in which tenant a form was opened.

The tenant is the session's, so that switching in one window switches in all of them: a form that is
still open in another one would be done in the wrong tenant, or in somebody else's name when the
impersonation began or ended meanwhile. Each form carries a mark, and one that does not fit any more
is refused before its view is asked.
"""

from __future__ import annotations

from typing import Final

from django.http import HttpRequest
from django.urls import Resolver404, resolve

from portal.frame.permissions import GUARDED, access_of
from tenants.domain.queries import TenantFacts, reachable_tenants
from tenants.models import User

# The hidden field of a form.
FIELD: Final = "acting"
_BETWEEN: Final = "-"


def mark(request: HttpRequest) -> str:
    """What a form that is opened now carries; '' for who acts in no tenant."""
    access = access_of(request)
    if access is None or not isinstance(request.user, User):
        return ""
    return f"{request.user.pk}{_BETWEEN}{access.tenant.tenant_id}"


def has_moved(request: HttpRequest) -> bool:
    """Whether what is sent was opened as somebody else or in another tenant.

    Asked of pages that ask for a permission: all others are the person's own, wherever he works.
    What carries no mark, such as a script's request, means the present.
    """
    if request.method != "POST":
        return False
    try:
        view = resolve(request.path_info).func
    except Resolver404:
        return False
    return GUARDED in vars(view) and request.POST.get(FIELD, mark(request)) != mark(request)


def opened_in(request: HttpRequest) -> TenantFacts | None:
    """The tenant that a form which has moved was opened in; None when the person may not switch
    there, or it was opened as somebody else.
    """
    user_id, _, tenant_id = request.POST.get(FIELD, "").partition(_BETWEEN)
    if not isinstance(request.user, User) or user_id != str(request.user.pk):
        return None
    tenants = reachable_tenants(user_id=request.user.pk)
    return next((tenant for tenant in tenants if str(tenant.tenant_id) == tenant_id), None)
