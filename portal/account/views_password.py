"""Forgotten and changed passwords."""

from __future__ import annotations

from functools import partial
from typing import Any, cast

from allauth.core import ratelimit
from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.contrib.auth.tokens import PasswordResetTokenGenerator
from django.contrib.auth.views import PasswordResetConfirmView
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse, reverse_lazy
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_GET, require_http_methods

from portal.account import events, session
from portal.account.forms import NewPasswordForm, ResetForm
from portal.account.proof import proven
from portal.account.tasks import send_password_reset
from tenants.domain.company_queries import enforced_for
from tenants.models import User

get_and_post = require_http_methods(["GET", "POST"])


@get_and_post
@never_cache
def forgotten(request: HttpRequest) -> HttpResponse:
    """Ask for a link that sets a new password.

    The answer and the work are the same whether the address has an account or not: a task looks.
    """
    form = ResetForm(request.POST or None)
    if request.method == "GET" or not form.is_valid():
        return render(request, "account/forgotten.html", {"form": form})
    email = User.objects.normalize_email(form.cleaned_data["email"])
    if not ratelimit.consume(request, action="reset_password", key=email):
        return render(request, "429.html", status=429)
    transaction.on_commit(partial(send_password_reset.delay, email=email))
    return HttpResponseRedirect(reverse("password-forgotten-sent"))


@require_GET
def forgotten_sent(request: HttpRequest) -> HttpResponse:
    """What to do next."""
    return render(request, "account/forgotten_sent.html")


@method_decorator([get_and_post, never_cache], name="dispatch")
class SetPasswordView(PasswordResetConfirmView):
    """The page behind the link: a new password, which ends all sessions.

    The link works once and for an hour, and no more once the account's password or address has
    changed or somebody has signed in: its token is made of all of them. It is kept in the session
    and taken out of the address, so that no page that is opened from here learns it.
    """

    template_name = "account/set_password.html"
    form_class = NewPasswordForm
    success_url = reverse_lazy("login")
    token_generator = PasswordResetTokenGenerator()

    def get_user(self, uidb64: str) -> User | None:
        """The account, as long as it may be used, and with a password."""
        user = super().get_user(uidb64)
        if user is None or not user.is_active or enforced_for(user) is not None:
            return None
        return user

    def form_valid(self, form: Any) -> HttpResponse:
        """Set it; nobody who is signed in stays so."""
        with transaction.atomic():
            response = super().form_valid(form)
            user = cast(User, form.user)
            session.end_all_sessions(user_id=user.pk)
            events.tell(self.request, user, events.PASSWORD_RESET)
        messages.success(self.request, _("Your new password is set. Sign in with it."))
        return response


@get_and_post
@never_cache
@sensitive_post_parameters()
@proven
def change(request: HttpRequest) -> HttpResponse:
    """Another password, or the first one of somebody who came by a company's sign-in; every other
    session ends.
    """
    user = cast(User, request.user)
    form = NewPasswordForm(user, request.POST or None)
    if request.method == "GET" or not form.is_valid():
        return render(request, "account/change_password.html", {"form": form})
    form.save()
    key = request.session.session_key
    update_session_auth_hash(request, user)
    session.renamed(request, former_key=key)
    session.end_other_sessions(user_id=user.pk, current_key=request.session.session_key)
    events.tell(request, user, events.PASSWORD_CHANGED)
    messages.success(request, _("Your password is changed. You are signed out everywhere else."))
    return HttpResponseRedirect(reverse("mfa_index"))
