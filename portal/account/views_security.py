"""Passkeys, authenticator app and recovery codes of a person."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from allauth.mfa.adapter import get_adapter
from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.views import GenerateRecoveryCodesView, ViewRecoveryCodesView
from allauth.mfa.totp.views import ActivateTOTPView, DeactivateTOTPView
from allauth.mfa.webauthn.internal import auth as webauthn
from allauth.mfa.webauthn.views import AddWebAuthnView, EditWebAuthnView, RemoveWebAuthnView
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.forms import Form
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse, reverse_lazy
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods

from portal.account.proof import proven
from tenants.domain.company_queries import enforced_for
from tenants.models import User

get_and_post = require_http_methods(["GET", "POST"])
# In this order: a wrong method is refused before anybody is asked who it is.
page = method_decorator([get_and_post, never_cache, proven], name="dispatch")
OVERVIEW = reverse_lazy("mfa_index")


@dataclass(frozen=True, slots=True)
class Passkey:
    """One passkey as the page shows it."""

    authenticator_id: int
    name: str
    created_at: datetime
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class Security:
    """How an account is secured."""

    has_password: bool
    passkeys: tuple[Passkey, ...]
    app_since: datetime | None
    codes_left: int | None


def security_of(user: User) -> Security:
    """What the account has; one query."""
    found = list(Authenticator.objects.filter(user=user).order_by("created_at"))
    app = next((one for one in found if one.type == Authenticator.Type.TOTP), None)
    codes = next((one for one in found if one.type == Authenticator.Type.RECOVERY_CODES), None)
    return Security(
        has_password=user.has_usable_password(),
        passkeys=tuple(
            Passkey(one.pk, one.wrap().name, one.created_at, one.last_used_at)
            for one in found
            if one.type == Authenticator.Type.WEBAUTHN
        ),
        app_since=app.created_at if app else None,
        codes_left=len(codes.wrap().get_unused_codes()) if codes else None,
    )


@require_GET
@never_cache
@login_required
def overview(request: HttpRequest) -> HttpResponse:
    """How the account is secured, with a way to change each part."""
    user = cast(User, request.user)
    context = {"security": security_of(user), "company": enforced_for(user)}
    return render(request, "account/security.html", context)


@page
class AddPasskeyView(AddWebAuthnView):
    """A new passkey."""

    template_name = "account/passkey_add.html"

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """Options for the browser: a passkey that is found without an address and checks who holds
        it."""
        context: dict[str, Any] = super().get_context_data(**kwargs)
        context["js_data"] = {
            "creation_options": webauthn.begin_registration(self.request.user, True)
        }
        return context


@page
class RenamePasskeyView(EditWebAuthnView):
    """Another name for a passkey."""

    template_name = "account/passkey_rename.html"
    success_url = OVERVIEW


@page
class RemovePasskeyView(RemoveWebAuthnView):
    """Remove a passkey, after a question."""

    template_name = "account/passkey_remove.html"
    success_url = OVERVIEW

    def form_valid(self, form: Form) -> HttpResponse:
        """Remove it, unless the person's organisation asks for it."""
        adapter = get_adapter()
        if not adapter.can_delete_authenticator(self.get_object()):
            messages.error(self.request, str(adapter.error_messages["cannot_delete_authenticator"]))
            return HttpResponseRedirect(reverse("mfa_index"))
        return cast(HttpResponse, super().form_valid(form))


@page
class AddAppView(ActivateTOTPView):
    """Set up an authenticator app."""

    template_name = "account/app_add.html"


@page
class RemoveAppView(DeactivateTOTPView):
    """Give the authenticator app up, after a question."""

    template_name = "account/app_remove.html"


@method_decorator([require_GET, never_cache, proven], name="dispatch")
class RecoveryCodesView(ViewRecoveryCodesView):
    """The recovery codes that are left."""

    template_name = "account/recovery_codes.html"


@page
class NewRecoveryCodesView(GenerateRecoveryCodesView):
    """New recovery codes instead of the former, after a question."""

    template_name = "account/recovery_codes_new.html"
