"""Search, the switch between tenants, and the language."""

from __future__ import annotations

from typing import Final

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseBadRequest,
    HttpResponseRedirect,
)
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from portal.frame import htmx
from portal.frame.search import MAX_LENGTH, results
from portal.frame.tenants import choices
from portal.middleware import CURRENT_TENANT
from tenants.domain import operations
from tenants.models import User

_SUGGESTED: Final = 5
_FOUND: Final = 30
_YEAR_S: Final = 365 * 86_400


@require_safe
@never_cache
@login_required
def search(request: HttpRequest) -> HttpResponse:
    """The page of results, which works without the palette too."""
    text = request.GET.get("q", "").strip()
    groups = results(request, text, limit=_FOUND)
    context = {"text": text, "groups": groups, "most": _FOUND, "max_length": MAX_LENGTH}
    return render(request, "search/page.html", context)


@require_safe
@never_cache
@login_required
def suggest(request: HttpRequest) -> HttpResponse:
    """The first results as options of the palette's list."""
    text = request.GET.get("q", "").strip()
    groups = results(request, text, limit=_SUGGESTED)
    return render(request, "search/options.html", {"text": text, "groups": groups})


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@login_required
def switch_tenant(request: HttpRequest) -> HttpResponse:
    """Choose the tenant to act in; it holds for the session."""
    assert isinstance(request.user, User)
    if request.method != "POST":
        text = request.GET.get("q", "").strip()
        context = choices(request, user_id=request.user.pk, text=text)
        partial = htmx.target(request)
        template = {
            "switcher-found": "tenants/switch_choices.html",
            "dialog-body": "tenants/switch_dialog.html",
        }.get(partial, "tenants/switch.html")
        return render(request, template, context)
    reachable = choices(request, user_id=request.user.pk)["reachable"]
    wanted = request.POST.get("tenant", "")
    chosen = next((tenant for tenant in reachable if str(tenant.tenant_id) == wanted), None)
    if chosen is None:
        raise Http404
    request.session[CURRENT_TENANT] = chosen.tenant_id
    messages.success(request, _("You now work in %(tenant)s.") % {"tenant": chosen.name})
    return HttpResponseRedirect(_next(request))


@require_POST
def language(request: HttpRequest) -> HttpResponse:
    """Choose the language: for the person, or for this browser before anybody has signed in."""
    code = request.POST.get("language", "")
    if code not in dict(settings.LANGUAGES):
        return HttpResponseBadRequest()
    if isinstance(request.user, User):
        operations.set_language(user_id=request.user.pk, language=code)
    response = HttpResponseRedirect(_next(request))
    response.set_cookie(
        settings.LANGUAGE_COOKIE_NAME,
        code,
        max_age=_YEAR_S,
        secure=settings.HTTPS,
        httponly=True,
        samesite="Lax",
    )
    return response


def _next(request: HttpRequest) -> str:
    """Where the person came from, when that is a page of ours."""
    wanted = request.POST.get("next", "")
    safe = url_has_allowed_host_and_scheme(
        wanted, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return wanted if safe else reverse("overview")
