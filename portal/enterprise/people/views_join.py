"""The page behind the link of an invitation: for whoever holds it, signed in or not."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import urlencode
from django.utils.translation import get_language_from_request
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from devices.domain.joining import join
from portal.account.session import lead_to_set_up, leave_company_behind, sign_in
from portal.enterprise.people import announce
from portal.enterprise.people.forms_join import JoinForm
from portal.middleware import CURRENT_TENANT
from tenants.domain.company_queries import Route, demanded_of_newcomer
from tenants.domain.operations_acceptance import (
    Accepted,
    CompanySignInFirst,
    SignInFirst,
    WrongPerson,
)
from tenants.domain.queries_invitations import (
    InvitationFacts,
    InvitationState,
    NotAcceptable,
    UnknownInvitation,
    find_invitation,
    in_words,
)
from tenants.models import User

_TEMPLATE = "enterprise/people/join.html"


@sensitive_post_parameters("password", "repeated")
@require_http_methods(["GET", "POST"])
@never_cache
def accept(request: HttpRequest, *, token: str) -> HttpResponse:
    """Look at an invitation, and accept it as a new person or as who is signed in."""
    now = datetime.now(UTC)
    try:
        invitation = find_invitation(token=token, now=now)
    except UnknownInvitation:
        return _closed(request, InvitationState.UNKNOWN)
    if invitation.state is not InvitationState.OPEN:
        return _closed(request, invitation.state)
    user = request.user if isinstance(request.user, User) else None
    if user is not None or invitation.has_account:
        return _as_user(request, token, invitation, user)
    company = demanded_of_newcomer(email=invitation.email, tenant_id=invitation.tenant_id)
    if company is not None:
        return _by_company(request, invitation, company)
    form = JoinForm(request.POST or None, email=invitation.email)
    if request.method == "POST" and form.is_valid():
        person = form.person(language=get_language_from_request(request))
        try:
            return _welcome(request, join(token=token, now=now, person=person))
        except ValidationError as error:
            form.add_error(None, error)
        except NotAcceptable as error:
            return _closed(request, error.state)
        except (SignInFirst, CompanySignInFirst):  # another window, or the settings, meanwhile
            return redirect(request.path)
    return _page(request, invitation, form=form)


def _as_user(
    request: HttpRequest, token: str, invitation: InvitationFacts, user: User | None
) -> HttpResponse:
    if user is None:
        query = urlencode({"next": request.path})
        return _page(request, invitation, sign_in_url=f"{reverse('login')}?{query}")
    if request.method == "GET" or user.email != invitation.email:
        return _page(request, invitation, user=user, wrong=user.email != invitation.email)
    try:
        accepted = join(token=token, now=datetime.now(UTC), user=user)
    except NotAcceptable as error:
        return _closed(request, error.state)
    except WrongPerson:
        return _page(request, invitation, user=user, wrong=True)
    return _welcome(request, accepted)


def _by_company(request: HttpRequest, invitation: InvitationFacts, company: Route) -> HttpResponse:
    """The account is made by the organisation's own sign-in; then this page is opened again."""
    query = urlencode({"login_hint": invitation.email, "next": request.path})
    url = f"{reverse('company-start', args=[company.key])}?{query}"
    return _page(request, invitation, company=company, company_url=url)


def _welcome(request: HttpRequest, accepted: Accepted) -> HttpResponse:
    """Sign a new person in, and lead into the tenant."""
    membership = accepted.membership
    if accepted.created:
        sign_in(request, accepted.user, method="invitation")
    lead_to_set_up(request)
    leave_company_behind(request)
    announce.joined(membership)
    request.session[CURRENT_TENANT] = membership.tenant_id
    if accepted.granted:
        messages.success(request, _("Welcome! You are a member now."))
    else:
        messages.info(request, _("You were a member already: nothing has changed."))
    return redirect("overview")


def _closed(request: HttpRequest, state: InvitationState) -> HttpResponse:
    """Why it cannot be accepted, in words; 404 and 410 for programs."""
    status = 404 if state is InvitationState.UNKNOWN else 410
    context = {"problem": in_words(state)}
    return render(request, _TEMPLATE, context, status=status)


def _page(request: HttpRequest, invitation: InvitationFacts, **context: Any) -> HttpResponse:
    return render(request, _TEMPLATE, {"invitation": invitation, **context})
