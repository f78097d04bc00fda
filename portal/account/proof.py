"""Pages that want the person to have proven lately who it is."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

from allauth.account.internal.flows.reauthentication import is_reauthentication_required
from allauth.core.exceptions import ReauthenticationRequired
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponseRedirect
from django.http.response import HttpResponseBase

View = Callable[..., HttpResponseBase]


def proven(view: View) -> View:
    """A page for signed-in people who have proven within minutes who they are; others do it first.

    A form that is sent too late is shown anew after the proof: what was in it, perhaps a password,
    is kept nowhere meanwhile.
    """

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        if is_reauthentication_required(request, app="allauth.mfa"):
            if request.method == "POST":
                return HttpResponseRedirect(request.get_full_path())
            raise ReauthenticationRequired
        return view(request, *args, **kwargs)

    return login_required(guarded)
