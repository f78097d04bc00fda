"""Who a person is: name, language, time zone, e-mail address."""

from __future__ import annotations

from functools import partial
from typing import Any, Final, cast

from allauth.core import ratelimit
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core import signing
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from portal.account.forms import EmailForm, ProfileForm
from portal.account.proof import proven
from portal.tasks import send_mail
from tenants.domain.account_operations import (
    AccountChanged,
    AddressTaken,
    change_email,
    change_profile,
    state_of,
)
from tenants.domain.company_queries import enforced_for
from tenants.models import User

get_and_post = require_http_methods(["GET", "POST"])
_SALT: Final = "wattline-change-email"
_MAX_AGE_S: Final = 86_400


@get_and_post
@never_cache
@login_required
def profile(request: HttpRequest) -> HttpResponse:
    """Name, language and time zone."""
    user = cast(User, request.user)
    values = {"name": user.name, "language": user.language, "time_zone": user.time_zone}
    form = ProfileForm(request.POST or None, initial=values)
    if request.method == "POST" and form.is_valid():
        change_profile(user_id=user.pk, **form.cleaned_data)
        messages.success(request, _("Your profile is saved."))
        return HttpResponseRedirect(reverse("account-profile"))
    return render(request, "account/profile.html", {"form": form, "email": user.email})


@get_and_post
@never_cache
@proven
def email(request: HttpRequest) -> HttpResponse:
    """Ask for another address: a link goes there, and nothing changes before it is opened.

    The answer is the same whether another account has the address or not.
    """
    user = cast(User, request.user)
    if route := enforced_for(user):
        text = _("Your address belongs to your organisation, which signs you in with %(name)s.")
        messages.error(request, text % {"name": route.name})
        return HttpResponseRedirect(reverse("account-profile"))
    form = EmailForm(request.POST or None, user=user)
    if request.method == "GET" or not form.is_valid():
        return render(request, "account/email.html", {"form": form, "email": user.email})
    if not ratelimit.consume(request, action="manage_email", user=user):
        return render(request, "429.html", status=429)
    wanted = form.cleaned_data["email"]
    asked = {"user": user.pk, "former": user.email, "state": state_of(user), "email": wanted}
    token = signing.dumps(asked, salt=_SALT)
    path = reverse("account-email-confirm", args=[token])
    send = partial(
        send_mail.delay,
        template="confirm_email",
        to=wanted,
        language=user.language,
        context={"name": user.get_full_name(), "action_url": f"{settings.PUBLIC_URL}{path}"},
    )
    transaction.on_commit(send)
    text = _("A link was sent to %(email)s. Open it to confirm the address.")
    messages.success(request, text % {"email": wanted})
    return HttpResponseRedirect(reverse("account-profile"))


@get_and_post
@never_cache
def confirm_email(request: HttpRequest, token: str) -> HttpResponse:
    """The page behind the link: a button, so that a program that looks at links changes nothing.

    Whoever opens it need not be signed in: reading the new address is what it proves.
    """
    try:
        asked: dict[str, Any] = signing.loads(token, salt=_SALT, max_age=_MAX_AGE_S)
    except signing.BadSignature:
        return render(request, "account/email_confirm.html", {"expired": True}, status=400)
    if request.method == "GET":
        return render(request, "account/email_confirm.html", {"email": asked["email"]})
    try:
        user = change_email(
            user_id=asked["user"], state=asked.get("state", ""), email=asked["email"]
        )
    except (AccountChanged, AddressTaken, ValidationError, User.DoesNotExist):
        return render(request, "account/email_confirm.html", {"expired": True}, status=400)
    send = partial(
        send_mail.delay,
        template="email_changed",
        to=asked["former"],
        language=user.language,
        context={"name": user.get_full_name(), "email": user.email},
    )
    transaction.on_commit(send)
    messages.success(request, _("Your e-mail address is changed."))
    return HttpResponseRedirect(reverse("account-profile"))
