"""The places where a person is signed in."""

from __future__ import annotations

from typing import cast

from allauth.usersessions.models import UserSession
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_POST

from portal.account import session
from tenants.models import User


@require_GET
@never_cache
@login_required
def sessions(request: HttpRequest) -> HttpResponse:
    """All sessions of the person, each with a button that ends it."""
    user = cast(User, request.user)
    found = session.sessions_of(user_id=user.pk, current_key=request.session.session_key)
    context = {"sessions": found, "others": sum(not one.is_current for one in found)}
    return render(request, "account/sessions.html", context)


@require_POST
@login_required
def end(request: HttpRequest, pk: int) -> HttpResponse:
    """End one session, which may be the one that asks."""
    try:
        session.end_session(user_id=cast(User, request.user).pk, session_id=pk)
    except UserSession.DoesNotExist:
        raise Http404 from None
    messages.success(request, _("The session has ended."))
    return HttpResponseRedirect(reverse("account-sessions"))


@require_POST
@login_required
def end_others(request: HttpRequest) -> HttpResponse:
    """End all sessions but the one that asks."""
    ended = session.end_other_sessions(
        user_id=cast(User, request.user).pk, current_key=request.session.session_key
    )
    text = ngettext("%(count)s session has ended.", "%(count)s sessions have ended.", ended)
    messages.success(request, text % {"count": ended})
    return HttpResponseRedirect(reverse("account-sessions"))
