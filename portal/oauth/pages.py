"""Pages of people: allowing a device, and what they have allowed so far."""

from __future__ import annotations

from typing import Any, Final

from django.contrib.auth.decorators import login_required
from django.core.cache import cache
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from portal.oauth.endpoints import USER_CODE_LENGTH, USER_CODE_LETTERS
from portal.oauth.scopes import shown
from tenants.domain import oauth_operations, oauth_queries
from tenants.domain.queries import Access, reachable_tenants
from tenants.models import Consent, DeviceGrant, User
from tenants.permissions import Permission
from tenants.scope import Scope, open_scope, require_scope

# Attempts at a code while one is valid: 20^8 codes cannot be tried out (RFC 8628, 5.1).
MAX_ATTEMPTS: Final = 20
_ATTEMPTS_S: Final = 600


@require_http_methods(["GET", "POST"])
@never_cache
@login_required
def device(request: HttpRequest) -> HttpResponse:
    """Type the code that a device shows, look who asks, allow or refuse."""
    assert isinstance(request.user, User)
    typed = request.POST.get("user_code") or request.GET.get("user_code") or ""
    if request.method == "GET" or not typed:
        return _device_page(request, typed=typed)
    if _attempts(request.user.pk) > MAX_ATTEMPTS:
        return _device_page(request, typed=typed, problem="attempts", status=429)
    with open_scope(_reachable(request.user)):
        grant = oauth_operations.waiting_device(user_code=_normal(typed), now=timezone.now())
        if grant is None:
            return _device_page(request, typed=typed, problem="unknown")
        tenants = oauth_queries.tenants_for(user_id=request.user.pk, application=grant.application)
        answer = request.POST.get("answer")
        chosen = next((t for t in tenants if str(t.tenant_id) == request.POST.get("tenant")), None)
        if answer == "allow" and chosen is not None:
            oauth_operations.allow_device(
                grant=grant, user_id=request.user.pk, tenant_id=chosen.tenant_id
            )
        elif answer == "deny":
            oauth_operations.deny_device(grant=grant)
        else:
            return _device_page(request, typed=typed, grant=grant, tenants=tenants)
    return _device_page(request, done=answer)


def _device_page(
    request: HttpRequest, *, grant: DeviceGrant | None = None, status: int = 200, **context: Any
) -> HttpResponse:
    if grant is not None:
        context["application"] = grant.application.name
        context["scopes"] = shown(grant.scope.split())
    return render(request, "oauth/device.html", context, status=status)


def _normal(typed: str) -> str:
    letters = [letter for letter in typed.upper() if letter in USER_CODE_LETTERS]
    if len(letters) != USER_CODE_LENGTH:
        return ""
    return "".join(letters[:4]) + "-" + "".join(letters[4:])


def _attempts(user_id: int) -> int:
    """How often the user has typed a code within ten minutes, this time included."""
    key = f"oauth-device-attempts:{user_id}"
    cache.add(key, 0, timeout=_ATTEMPTS_S)
    return int(cache.incr(key))


@require_safe
@never_cache
@login_required
def grants(request: HttpRequest) -> HttpResponse:
    """The applications that the user, or for an administrator anybody, has allowed something."""
    assert isinstance(request.user, User)
    with open_scope(_reachable(request.user)):
        own = oauth_queries.consents(user_id=request.user.pk)
    with open_scope(_administered(request)):
        others = oauth_queries.consents(user_id=None)
    context = {
        "own": [_shown(consent) for consent in own],
        "others": [_shown(c) for c in others if c.user_id != request.user.pk],
        "administers": bool(_administered(request).tenant_ids),
    }
    return render(request, "oauth/grants.html", context)


@require_POST
@login_required
def revoke_grant(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Take a consent back; every token that was issued for it is invalid at once."""
    assert isinstance(request.user, User)
    for scope, own_only in ((_reachable(request.user), True), (_administered(request), False)):
        with open_scope(scope):
            try:
                oauth_operations.revoke_consent(
                    consent_id=pk, actor_id=request.user.pk, own_only=own_only
                )
            except Consent.DoesNotExist:
                continue
        return redirect("oauth:grants")
    raise Http404


def _reachable(user: User) -> Scope:
    """Every tenant in which the user may have allowed something.

    Without the narrowing to facilities, which hides consents: only those of the user are read.
    """
    return Scope(tuple(tenant.tenant_id for tenant in reachable_tenants(user_id=user.pk)))


def _administered(request: HttpRequest) -> Scope:
    """The tenants whose members the user administers at the moment.

    None while the role is narrowed to facilities: members and consents are the whole tenant's.
    """
    access = getattr(request, "access", None)
    if isinstance(access, Access) and access.allows(Permission.MEMBERS_CHANGE):
        scope = require_scope()
        return Scope(scope.tenant_ids if scope.facility_ids is None else ())
    return Scope(())


def _shown(consent: oauth_queries.ConsentFacts) -> dict[str, Any]:
    return {
        "id": consent.consent_id,
        "application": consent.application_name,
        "tenant": consent.tenant_name,
        "user": consent.user_email,
        "scopes": shown(consent.scopes),
        "granted_at": consent.granted_at,
    }
