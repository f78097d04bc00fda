"""An organisation's provider that is gone, slow, or means harm: it ends nobody's page and opens
nothing that is not its own.
"""

from __future__ import annotations

from typing import Any

import pytest
from allauth.socialaccount.models import SocialAccount
from django.contrib.auth.tokens import PasswordResetTokenGenerator
from django.core.cache import cache
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode

from portal.tests.openid_provider import CLIENT_ID, CLIENT_SECRET, Claims
from portal.tests.test_company_login import (
    PASSWORD,
    Company,
    _draft,
    _enforce,
    _member,
    _tasks_run_at_once,
    company,
    provider,
)
from portal.tests.test_company_settings import _form
from tenants.domain import company_operations, operations_invitations
from tenants.domain.authority import NotAllowed
from tenants.domain.operations_invitations import Offer, write_letter
from tenants.models import CompanyLogin, Membership, Tenant, User
from tenants.permissions import Permission, Role
from tenants.scope import Scope, open_scope
from tenants.tests import factories

__all__ = ["_tasks_run_at_once", "company", "provider"]


# --- invitations where the company login is demanded ----------------------------------------------


def _invited(tenant: Tenant, email: str) -> str:
    """Where the link of an invitation leads."""
    with open_scope(Scope((tenant.pk,))):
        made = operations_invitations.invite(
            tenant_id=tenant.pk,
            email=email,
            offer=Offer(role=Role.ANALYST, facility_ids=None, language="en"),
            now=timezone.now(),
            actor_id=None,
        )
        letter = write_letter(invitation_id=made.pk, now=timezone.now())
    assert letter is not None
    return reverse("invitation-accept", args=[letter.token])


def test_invited_person_gets_no_password_where_the_company_login_is_demanded(
    company: Company,
) -> None:
    _enforce(company)
    email = company.person()
    link = _invited(company.tenant, email)
    browser = Client()
    page = browser.get(link).content.decode()
    assert 'name="password"' not in page
    assert "Example SSO" in page
    form = {"name": "Ada", "password": PASSWORD, "repeated": PASSWORD}
    browser.post(link, form)
    assert not User.objects.filter(email=email).exists()
    assert "_auth_user_id" not in browser.session
    # The way that the page leads to: signed in by the organisation, then accepted.
    browser, after = company.come(browser, following=link)
    assert after == link
    assert User.objects.get(email=email).has_usable_password() is False


def test_invitation_of_another_organisation_still_makes_the_account(company: Company) -> None:
    _enforce(company)
    email = company.person()
    link = _invited(factories.tenant(), email)
    browser = Client()
    form = {"name": "Ada", "password": PASSWORD, "repeated": PASSWORD}
    assert browser.post(link, form).status_code == 302
    assert User.objects.get(email=email).has_usable_password()


def test_link_of_a_reset_sets_no_password_once_the_company_login_is_demanded(
    company: Company,
) -> None:
    user = _member(company)
    uid = urlsafe_base64_encode(force_bytes(user.pk))
    link = reverse("password-set", args=[uid, PasswordResetTokenGenerator().make_token(user)])
    browser = Client()
    assert "new_password1" in browser.get(link, follow=True).content.decode()
    _enforce(company)
    form = {"new_password1": "an entirely different phrase"}
    form["new_password2"] = form["new_password1"]
    browser.post(reverse("password-set", args=[uid, "set-password"]), form)
    assert User.objects.get(pk=user.pk).password == user.password


# --- who may turn a provider to himself -----------------------------------------------------------


def test_only_who_holds_everything_names_another_provider(company: Company) -> None:
    """A provider becomes anybody of its domains: the last administrator, who keeps that role."""
    tenant = company.tenant
    with open_scope(Scope((tenant.pk,))):
        role = factories.custom_role(tenant, Permission.SIGN_ON_CHANGE)
        weak = factories.member(tenant, role.pk).user
        admin = Membership.objects.select_related("user").get(role=Role.ADMIN)
        admin.user.email = f"admin@{company.domain}"
        admin.user.save(update_fields=["email"])
        harmless: dict[str, Any] = {"role_rules": (("all", str(role.pk)),)}
        CompanyLogin.objects.update(role_rules=[["all", str(role.pk)]])
        for changes in (
            {"issuer": "https://mine.example"},
            {"client_id": "mine"},
            {"default_role": "analyst"},  # which would demote them
        ):
            with pytest.raises(NotAllowed):
                company_operations.save_login(
                    tenant_id=tenant.pk,
                    draft=_draft(company.provider, **{**harmless, **changes}),
                    actor_id=weak.pk,
                )
        company_operations.save_login(
            tenant_id=tenant.pk,
            draft=_draft(company.provider, client_secret="", name="Another name", **harmless),
            actor_id=weak.pk,
        )
        company_operations.save_login(
            tenant_id=tenant.pk,
            draft=_draft(company.provider, client_id="other"),
            actor_id=admin.user_id,
        )


def test_subjects_of_a_former_provider_open_nothing(company: Company) -> None:
    former = company.person()
    company.come()
    subject = company.provider.person["sub"]
    with open_scope(Scope((company.tenant.pk,))):
        admin = Membership.objects.select_related("user").get(role=Role.ADMIN).user
    browser = Client()
    browser.force_login(admin)
    for client_id in ("of another provider", CLIENT_ID):
        form = _form(
            issuer=company.provider.issuer, client_id=client_id, client_secret=CLIENT_SECRET
        )
        assert browser.post(reverse("company-login"), form).status_code == 302
    assert not SocialAccount.objects.filter(provider=company.login.key).exists()
    another = company.person(sub=subject)
    browser, _after = company.come()
    signed_in = User.objects.get(pk=browser.session["_auth_user_id"])
    assert signed_in.email == another
    assert signed_in.email != former


# --- what a provider may say ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "document",
    [
        {"token_endpoint_auth_methods_supported": None},
        {"token_endpoint_auth_methods_supported": 7},
        {"token_endpoint_auth_methods_supported": {"client_secret_basic": 1}},
        {"userinfo_endpoint": ["x"]},
        {"jwks_uri": 7},
    ],
)
def test_odd_description_is_no_error_of_ours(company: Company, document: Claims) -> None:
    cache.clear()
    company.person()
    company.provider.change_document = lambda told: told | document
    browser = Client()
    answer = browser.get(reverse("company-start", args=[company.login.key]))
    if answer["Location"] != reverse("login"):
        company.come(browser)


@pytest.mark.parametrize(
    "answer", [["access_token"], "access_token", {"access_token": 7}, {"access_token": None}, 7]
)
def test_odd_answer_to_a_code_is_no_error_of_ours(company: Company, answer: Any) -> None:
    company.person()
    company.provider.redeem = lambda *_: answer  # type: ignore[method-assign]
    assert company.come()[1].startswith("Example SSO could not be reached")


@pytest.mark.parametrize(
    "claims",
    [
        {"sub": "a\x00b"},
        {"name": "a\x00b"},
        {"name": "n" * 5000},
        {"email": "\x00@{domain}"},
        {"email": "two@words@{domain}"},
        {"email": "{domain}"},
        {"email": "@{domain}"},
        {"email": "a b@{domain}"},
        {"email": "a" * 300 + "@{domain}"},
        {"groups": {"energy": 1}},
        {"groups": 7},
    ],
)
def test_odd_claims_are_no_error_of_ours(company: Company, claims: Claims) -> None:
    claims = {
        name: value.replace("{domain}", company.domain) if isinstance(value, str) else value
        for name, value in claims.items()
    }
    company.person(**claims)
    browser, told = company.come()
    assert ("_auth_user_id" in browser.session) == (told == "/")


@pytest.mark.parametrize(
    "key",
    [
        {"kty": "RSA", "n": "AQ", "e": "AQ"},
        {"kty": "RSA", "n": 7, "e": "AQAB"},
        {"kty": "RSA"},
        {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"},
        {"kty": ["RSA"]},
        {"kty": "OKP", "crv": "Ed25519", "x": "!"},
        {"kid": 7, "kty": "RSA", "n": "AA", "e": "AA"},
    ],
)
def test_odd_keys_are_no_error_of_ours(
    company: Company, key: Claims, monkeypatch: pytest.MonkeyPatch
) -> None:
    company.person()
    document = {"kid": "first", "use": "sig", **key}
    monkeypatch.setattr(
        type(company.provider.key), "as_dict", lambda *_args, **_more: document, raising=True
    )
    assert company.come()[1].startswith("Example SSO could not be reached")


def test_answer_that_hides_its_issuer_is_refused_where_it_is_promised(company: Company) -> None:
    """RFC 9207, section 2.4: who says that answers carry the issuer is held to it."""
    company.person()
    company.provider.change_document = lambda told: (
        told | {"authorization_response_iss_parameter_supported": True}
    )
    cache.clear()
    authorize = company.provider.authorize
    company.provider.authorize = lambda query: (  # type: ignore[method-assign]
        authorize(query).partition("&iss=")[0]
    )
    assert company.come()[1].startswith("Example SSO could not be reached")
    company.provider.authorize = authorize  # type: ignore[method-assign]
    assert company.come()[1] == "/"


# --- what lies beyond the organisation ------------------------------------------------------------


def test_session_of_the_provider_does_not_reach_what_the_person_joins_elsewhere(
    company: Company,
) -> None:
    """Who keeps a provider could sign in as anybody of it, and wait."""
    email = company.person()
    waiting, _after = company.come()
    browser, _after = company.come()
    elsewhere = factories.tenant()
    assert browser.post(_invited(elsewhere, email)).status_code == 302
    assert browser.get(reverse("overview")).status_code == 200
    assert "_auth_user_id" not in waiting.session
    assert company.come()[1].startswith("Your account belongs to other organisations")


def test_session_of_the_provider_goes_on_where_it_may_speak(company: Company) -> None:
    email = company.person()
    another, _after = company.come()
    browser, _after = company.come()
    assert browser.post(_invited(factories.tenant(company.tenant), email)).status_code == 302
    assert "_auth_user_id" in another.session
