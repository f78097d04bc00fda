"""Signing in through an organisation's own provider: who gets in, who never does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
import time_machine
from allauth.socialaccount.models import SocialAccount
from django.contrib.messages import get_messages
from django.core import mail as outbox
from django.core.cache import cache
from django.test import Client
from django.urls import reverse
from joserfc import jwt
from joserfc.jwk import RSAKey
from pytest_django import Settings

from portal.account import openid, session, tasks
from portal.account.views_company import callback_address
from portal.outbound import AddressRefused, Session
from portal.tests import openid_provider
from portal.tests.openid_provider import CLIENT_ID, CLIENT_SECRET, Claims, Provider
from tenants.domain import company_domains, company_operations, company_queries, operations
from tenants.domain.company_operations import LoginDraft
from tenants.models import AuditEntry, CompanyDomain, CompanyLogin, Membership, Tenant, User
from tenants.permissions import Role
from tenants.scope import Scope, open_scope
from tenants.tests import factories

PASSWORD = "correct horse battery staple"
RULES = (("admins", "admin"), ("energy", "manager"), ("all", "analyst"))


@pytest.fixture(autouse=True)
def _tasks_run_at_once(settings: Settings) -> None:
    settings.CELERY_TASK_ALWAYS_EAGER = True


@pytest.fixture
def provider() -> Iterator[Provider]:
    with openid_provider.running() as made:
        yield made


@dataclass
class Company:
    """A tenant whose domain is proven, with its provider."""

    tenant: Tenant
    login: CompanyLogin
    domain: str
    provider: Provider

    def person(self, **changes: object) -> str:
        """Let the provider speak of somebody from now on; returns the address."""
        number = factories.number()
        email = f"person{number}@{self.domain}"
        self.provider.person = {
            "sub": f"subject-{number}",
            "email": email,
            "name": "Ada Byron",
            "groups": ["energy"],
            **changes,
        }
        return str(self.provider.person.get("email", email))

    def come(self, client: Client | None = None, following: str = "") -> tuple[Client, str]:
        """A browser goes there and back; returns it, and where it is led to or what it is told."""
        client = client or Client()
        query = {"next": following} if following else {}
        out = client.get(reverse("company-start", args=[self.login.key]), query)
        assert out.status_code == 302
        back = requests.get(out["Location"], allow_redirects=False, timeout=5).headers["Location"]
        return client, self.back(client, back)

    def back(self, client: Client, address: str) -> str:
        """Open the address that the provider has sent the browser to."""
        parts = urlsplit(address)
        answer = client.get(f"{parts.path}?{parts.query}")
        assert answer.status_code == 302
        told = [str(message) for message in get_messages(answer.wsgi_request)]
        return told[-1] if told else answer["Location"]

    def role_of(self, email: str) -> str:
        """The role in the organisation's tenant; '' for none."""
        with open_scope(Scope((self.tenant.pk,))):
            found = Membership.objects.filter(user__email=email, tenant=self.tenant).first()
        return found.role if found else ""


def _draft(provider: Provider, **changes: Any) -> LoginDraft:
    values: dict[str, Any] = {
        "name": "Example SSO",
        "issuer": provider.issuer,
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
        "extra_scopes": "groups",
        "groups_claim": "groups",
        "role_rules": RULES,
        "default_role": "",
        "is_active": True,
    }
    return LoginDraft(**(values | changes))


def _company(provider: Provider, parent: Tenant | None = None, **changes: Any) -> Company:
    tenant = factories.tenant(parent)
    domain = f"company{factories.number()}.example"
    with open_scope(Scope((tenant.pk,))):
        factories.member(tenant, Role.ADMIN)
        login = company_operations.save_login(
            tenant_id=tenant.pk, draft=_draft(provider, **changes), actor_id=None
        )
        _prove(tenant, domain)
    provider.redirect_uris.add(callback_address(login.key))
    return Company(tenant, login, domain, provider)


def _prove(tenant: Tenant, domain: str) -> CompanyDomain:
    added = company_domains.add_domain(tenant_id=tenant.pk, domain=domain, actor_id=None)
    facts = company_queries.domain_facts(added)
    return company_domains.check_domain(
        tenant_id=tenant.pk,
        domain_id=added.pk,
        look_up=lambda name: [facts.record_value] if name == facts.record_name else [],
        now=datetime.now(UTC),
        actor_id=None,
    )


@pytest.fixture
def company(db: None, provider: Provider) -> Company:
    cache.clear()
    return _company(provider)


def _enforce(company: Company) -> User:
    """Demand the company login; returns the exempt administrator."""
    with open_scope(Scope((company.tenant.pk,))):
        admin = factories.member(company.tenant, Role.ADMIN).user
        admin.set_password(PASSWORD)
        admin.email = f"admin{factories.number()}@{company.domain}"
        admin.save(update_fields=["password", "email"])
        CompanyLogin.objects.filter(pk=company.login.pk).update(last_success_at=datetime.now(UTC))
        company_operations.enforce(
            tenant_id=company.tenant.pk,
            enforced=True,
            break_glass_email=admin.email,
            actor_id=None,
        )
    return admin


def _member(company: Company, tenant: Tenant | None = None, role: Role = Role.MANAGER) -> User:
    """Somebody with an address of the company and a password, member of `tenant`."""
    of = tenant or company.tenant
    email = f"member{factories.number()}@{company.domain}"
    user = operations.create_user(email=email, password=PASSWORD)
    with open_scope(Scope((of.pk,))):
        operations.grant_membership(tenant_id=of.pk, user_id=user.pk, role=role, actor_id=None)
    return user


# --- who gets in ---------------------------------------------------------------------------------


def test_first_sign_in_makes_the_account_with_the_role_of_the_group(company: Company) -> None:
    email = company.person()
    client, place = company.come(following="/account/")
    assert place == "/account/"
    user = User.objects.get(email=email)
    assert client.session["_auth_user_id"] == str(user.pk)
    assert (user.name, user.has_usable_password()) == ("Ada Byron", False)
    assert company.role_of(email) == "manager"
    asked = company.provider.requests[0]
    assert asked["scope"].split() == ["openid", "profile", "email", "groups"]
    assert len(asked["state"]) >= 22
    assert len(asked["nonce"]) >= 22
    with open_scope(Scope((company.tenant.pk,))):
        actions = set(AuditEntry.objects.values_list("action", flat=True))
    assert {"account.create", "membership.grant", "session.begin"} <= actions


def test_role_follows_the_groups_at_each_sign_in(company: Company) -> None:
    email = company.person()
    roles = []
    for groups in (["all"], ["all", "admins"], "energy all", []):
        company.provider.person["groups"] = groups
        _client, told = company.come()
        roles.append((company.role_of(email), told.partition(" ")[0]))
    # The last time nobody gives a role: not let in, and the membership is left as it was.
    assert roles == [("analyst", "/"), ("admin", "/"), ("manager", "/"), ("manager", "Your")]


def test_rules_do_not_take_the_last_administrator(company: Company) -> None:
    email = company.person(groups=["admins"])
    company.come()
    with open_scope(Scope((company.tenant.pk,))):
        Membership.objects.filter(tenant=company.tenant).exclude(user__email=email).delete()
    company.provider.person["groups"] = ["all"]
    assert company.come()[1] == "/"
    assert company.role_of(email) == "admin"


def test_default_role_is_for_those_in_no_group(db: None, provider: Provider) -> None:
    company = _company(provider, default_role="technician")
    email = company.person(groups=["others"])
    company.come()
    assert company.role_of(email) == "technician"


def test_custom_role_can_be_given(company: Company) -> None:
    with open_scope(Scope((company.tenant.pk,))):
        role = factories.custom_role(company.tenant)
        company_operations.save_login(
            tenant_id=company.tenant.pk,
            draft=_draft(company.provider, role_rules=(("energy", str(role.pk)),)),
            actor_id=None,
        )
    email = company.person()
    company.come()
    with open_scope(Scope((company.tenant.pk,))):
        assert Membership.objects.get(user__email=email).custom_role_id == role.pk


def test_existing_member_is_linked_and_keeps_password(company: Company) -> None:
    user = _member(company)
    company.person(email=user.email, groups=["all"])
    client, place = company.come()
    assert (place, client.session["_auth_user_id"]) == ("/", str(user.pk))
    user.refresh_from_db()
    assert user.check_password(PASSWORD)
    assert SocialAccount.objects.get(user=user).provider == company.login.key


def test_member_of_a_tenant_below_keeps_the_role_there(company: Company) -> None:
    below = factories.tenant(company.tenant)
    user = _member(company, below, Role.TECHNICIAN)
    company.person(email=user.email, groups=["admins"])
    _client, place = company.come()
    assert place == "/"
    assert company.role_of(user.email) == ""


def test_claims_that_the_token_leaves_out_come_from_userinfo(company: Company) -> None:
    email = company.person()
    company.provider.userinfo = dict(company.provider.person)
    company.provider.change_token = lambda claims: {
        name: value for name, value in claims.items() if name not in ("email", "groups")
    }
    company.come()
    assert company.role_of(email) == "manager"


def test_keys_that_were_rotated_are_fetched_anew(company: Company) -> None:
    company.person()
    assert company.come()[1] == "/"
    company.provider.key = RSAKey.generate_key(2048, {"kid": "second"})
    assert company.come()[1] == "/"


def test_session_key_changes_and_the_session_is_the_companys(company: Company) -> None:
    company.person()
    client = Client()
    before = client.session
    before.save()
    company.come(client)
    assert client.session.session_key != before.session_key
    assert client.session[session.METHOD] == "company"


# --- who does not --------------------------------------------------------------------------------


def test_provider_speaks_for_proven_domains_alone(company: Company) -> None:
    for email in (
        "victim@elsewhere.example",
        f"x@sub.{company.domain}",
        f"x@{company.domain}.evil",
    ):
        company.person(email=email)
        client, told = company.come()
        assert told.startswith("Your organisation has not proven")
        assert "_auth_user_id" not in client.session
        assert not User.objects.filter(email=email).exists()


def test_provider_cannot_take_over_an_account_of_another_tenant(
    company: Company, provider: Provider
) -> None:
    """The domain is proven; but the person is a member elsewhere, alone or as well."""
    elsewhere = factories.tenant()
    alone = _member(company, elsewhere, Role.ADMIN)
    both = _member(company)
    with open_scope(Scope((elsewhere.pk,))):
        membership = operations.grant_membership(
            tenant_id=elsewhere.pk, user_id=both.pk, role=Role.ADMIN, actor_id=None
        )
        # Suspended for now: it can be restored, and would then be theirs.
        operations.suspend_membership(
            membership_id=membership.pk, now=datetime.now(UTC), actor_id=None
        )
    for user in (alone, both):
        company.person(email=user.email)
        client, told = company.come()
        assert told.startswith("Your account belongs to other organisations")
        assert "_auth_user_id" not in client.session
        assert not SocialAccount.objects.filter(user=user).exists()


def test_provider_of_a_client_cannot_become_its_operator(db: None, provider: Provider) -> None:
    above = factories.operator()
    company = _company(provider, above)
    user = _member(company, above, Role.OPERATOR)
    company.person(email=user.email, groups=["admins"])
    assert company.come()[1].startswith("Your account belongs to other organisations")


def test_account_that_moved_to_another_organisation_is_let_go(company: Company) -> None:
    email = company.person()
    company.come()
    user = User.objects.get(email=email)
    elsewhere = factories.tenant()
    with open_scope(Scope((elsewhere.pk,))):
        operations.grant_membership(
            tenant_id=elsewhere.pk, user_id=user.pk, role=Role.ANALYST, actor_id=None
        )
    client, told = company.come()
    assert told.startswith("Your account belongs to other organisations")
    assert "_auth_user_id" not in client.session


def test_recycled_address_does_not_open_the_former_persons_account(company: Company) -> None:
    email = company.person()
    company.come()
    company.person(email=email)  # another subject
    assert company.come()[1].startswith("The account with your address is used by somebody else")


def test_unverified_address_suspended_member_and_closed_account_stay_out(company: Company) -> None:
    company.person(email_verified=False)
    assert company.come()[1].startswith("Your organisation has not verified")
    user = _member(company)
    with open_scope(Scope((company.tenant.pk,))):
        operations.suspend_membership(
            membership_id=Membership.objects.get(user=user).pk,
            now=datetime.now(UTC),
            actor_id=None,
        )
    company.person(email=user.email)
    assert company.come()[1].startswith("Your membership is suspended")
    closed = _member(company)
    User.objects.filter(pk=closed.pk).update(is_active=False)
    company.person(email=closed.email)
    assert company.come()[1] == "This account cannot be used to sign in."


def test_login_that_is_turned_off_or_unknown_is_not_there(company: Company) -> None:
    with open_scope(Scope((company.tenant.pk,))):
        CompanyLogin.objects.filter(pk=company.login.pk).update(is_active=False)
    for name in ("company-start", "company-callback"):
        assert Client().get(reverse(name, args=[company.login.key])).status_code == 404
        assert Client().get(reverse(name, args=["unknown"])).status_code == 404
    assert company_queries.route_of(email=f"x@{company.domain}") is None


# --- what does not hold --------------------------------------------------------------------------


def _expired(claims: Claims) -> Claims:
    return claims | {"exp": claims["iat"] - 3600, "iat": claims["iat"] - 7200}


def _without(name: str) -> Callable[[Claims], Claims]:
    return lambda claims: {key: value for key, value in claims.items() if key != name}


@pytest.mark.parametrize(
    "change",
    [
        lambda claims: claims | {"nonce": "of another request"},
        _without("nonce"),
        lambda claims: claims | {"iss": "https://another.example"},
        lambda claims: claims | {"aud": "another client"},
        lambda claims: claims | {"aud": [CLIENT_ID, "another"]},
        lambda claims: claims | {"aud": [CLIENT_ID, "another"], "azp": "another"},
        lambda claims: claims | {"azp": "another"},
        _expired,
        _without("exp"),
        _without("sub"),
        _without("email"),
    ],
)
def test_token_that_does_not_hold_is_refused(
    company: Company, change: Callable[[Claims], Claims]
) -> None:
    company.person()
    company.provider.userinfo = {"sub": company.provider.person["sub"]}
    company.provider.change_token = change
    client, told = company.come()
    assert told.startswith("Example SSO could not be reached, or gave an answer")
    assert "_auth_user_id" not in client.session


def test_signature_of_another_key_or_none_is_refused(company: Company) -> None:
    company.person()
    published, other = company.provider.key, RSAKey.generate_key(2048, {"kid": "first"})
    for forge in (
        company.provider.unsigned,
        company.provider.signed_with_public_key,
        lambda claims: jwt.encode({"alg": "RS256", "kid": "first"}, claims, other),
        lambda claims: jwt.encode({"alg": "RS256", "kid": "no"}, claims, published),
    ):
        company.provider.sign = forge
        client, told = company.come()
        assert told.startswith("Example SSO could not be reached")
        assert "_auth_user_id" not in client.session


def test_userinfo_about_somebody_else_is_refused(company: Company) -> None:
    company.person()
    company.provider.userinfo = company.provider.person | {"sub": "another"}
    company.provider.change_token = _without("email")
    assert company.come()[1].startswith("Example SSO could not be reached")


@pytest.mark.parametrize(
    "change",
    [
        lambda document: document | {"issuer": "https://another.example"},
        lambda document: document | {"token_endpoint": "ftp://elsewhere.example/token"},
        lambda document: document | {"jwks_uri": "http://elsewhere.example/jwks"},
        _without("authorization_endpoint"),
    ],
)
def test_description_that_does_not_hold_is_refused(
    company: Company, change: Callable[[Claims], Claims]
) -> None:
    company.provider.change_document = change
    client = Client()
    answer = client.get(reverse("company-start", args=[company.login.key]))
    assert answer["Location"] == reverse("login")
    assert company.provider.requests == []


def test_answer_is_for_the_browser_that_asked_and_once(company: Company) -> None:
    company.person()
    asking, other = Client(), Client()
    out = asking.get(reverse("company-start", args=[company.login.key]))["Location"]
    back = requests.get(out, allow_redirects=False, timeout=5).headers["Location"]
    begun_elsewhere = "This sign-in was begun elsewhere or too long ago. Try again."
    assert company.back(other, back) == begun_elsewhere
    assert "_auth_user_id" not in other.session
    assert company.back(asking, back) == "/"
    asking.logout()
    assert company.back(asking, back) == begun_elsewhere


def test_answer_of_another_provider_is_not_taken(company: Company, provider: Provider) -> None:
    """The mix-up attack: the state belongs to one login, the answer to another."""
    other = _company(provider)
    company.person()
    client = Client()
    out = client.get(reverse("company-start", args=[company.login.key]))["Location"]
    back = requests.get(out, allow_redirects=False, timeout=5).headers["Location"]
    foreign = back.replace(company.login.key, other.login.key)
    assert other.back(client, foreign).startswith("This sign-in was begun elsewhere")
    wrong_issuer = back.replace("iss=", "iss=https://evil.example&was=")
    client.get(reverse("company-start", args=[company.login.key]))
    assert "_auth_user_id" not in client.session
    assert company.back(client, wrong_issuer).startswith("Example SSO could not be reached")


def test_refusal_of_the_provider_is_told(company: Company) -> None:
    client = Client()
    out = client.get(reverse("company-start", args=[company.login.key]))["Location"]
    state = parse_qs(urlsplit(out).query)["state"][0]
    address = f"{callback_address(company.login.key)}?error=access_denied&state={state}"
    assert company.back(client, address) == "Your organisation has not let you in. Try again."


@pytest.mark.parametrize(
    "following", ["https://evil.example/", "//evil.example", "/\\evil.example"]
)
def test_sign_in_leads_to_this_site_alone(company: Company, following: str) -> None:
    company.person()
    assert company.come(following=following)[1] == "/"


def test_provider_inside_our_own_network_is_not_reached(settings: Settings) -> None:
    settings.HTTPS = True
    for address in ("https://127.0.0.1/", "https://localhost/", "https://[::ffff:10.0.0.1]/"):
        with pytest.raises(AddressRefused):
            Session().get(address)
    with pytest.raises(AddressRefused):
        Session().get("http://example.org/")


def test_redirects_of_a_provider_are_not_followed(provider: Provider) -> None:
    with pytest.raises(AddressRefused):
        Session().get(f"{provider.issuer}/elsewhere")


# --- demanded ------------------------------------------------------------------------------------


def _by_password(email: str, password: str = PASSWORD) -> tuple[int, str]:
    form = {"login": email, "password": password}
    address = f"10.9.{factories.number() % 250}.{factories.number() % 250}"
    answer = Client(REMOTE_ADDR=address).post(reverse("login"), form)
    return answer.status_code, answer.get("Location", "")


def test_password_is_refused_where_the_company_login_is_demanded(company: Company) -> None:
    member = _member(company)
    assert _by_password(member.email) == (302, "/")
    exempt = _enforce(company)
    assert _by_password(member.email) == (200, "")
    assert _by_password(exempt.email) == (302, "/")
    company.person(email=member.email)
    assert company.come()[1] == "/"


def test_demand_does_not_reach_members_of_other_tenants(company: Company) -> None:
    elsewhere = _member(company, factories.tenant())
    newcomer = operations.create_user(email=f"new@{company.domain}", password=PASSWORD)
    _enforce(company)
    assert _by_password(elsewhere.email) == (302, "/")
    assert _by_password(newcomer.email) == (302, "/")


def test_demanded_login_answers_alike_for_every_address_of_the_domain(company: Company) -> None:
    member = _member(company)
    _enforce(company)
    nobody = f"nobody@{company.domain}"
    pages = []
    for email, password in ((member.email, PASSWORD), (member.email, "wrong"), (nobody, "wrong")):
        form = {"login": email, "password": password}
        address = f"10.8.{factories.number() % 250}.1"
        text = Client(REMOTE_ADDR=address).post(reverse("login"), form).content.decode()
        pages.append(_shown(text, email))
    assert pages[0] == pages[1] == pages[2]
    assert "or your organisation asks you to sign in with Example SSO" in pages[0]


def test_first_step_answers_alike_for_every_address_of_the_domain(company: Company) -> None:
    member = _member(company)
    shown = []
    for email in (member.email, f"nobody@{company.domain}"):
        text = Client().post(reverse("login"), {"login": email}).content.decode()
        shown.append(_shown(text, email))
    assert shown[0] == shown[1]
    assert "Continue with Example SSO" in shown[0]
    assert 'name="password"' in shown[0]
    _enforce(company)
    demanded = Client().post(reverse("login"), {"login": member.email}).content.decode()
    assert 'name="password"' not in demanded
    other = Client().post(reverse("login"), {"login": "x@elsewhere.example"}).content.decode()
    assert "Example SSO" not in other


def _shown(text: str, email: str) -> str:
    """The page without what differs at each load, and without the address itself."""
    lines = text.replace(email, "EMAIL").replace(email.replace("@", "%40"), "EMAIL").splitlines()
    return "\n".join(line for line in lines if "csrf" not in line)


def test_who_came_from_the_organisation_proves_it_there(company: Company) -> None:
    _enforce(company)
    company.person()
    client, _place = company.come()
    assert client.get(reverse("account_change_password")).status_code == 200  # just signed in
    assert (
        "asks you to sign in with Example SSO" in client.get(reverse("mfa_index")).content.decode()
    )
    answer = client.get(reverse("account-email"))
    assert "which signs you in with" in client.get(answer["Location"]).content.decode()
    with time_machine.travel(datetime.now(UTC) + timedelta(seconds=301)):
        answer = client.get(reverse("account_change_password"))
        assert answer["Location"].startswith(f"{reverse('login')}?again=1&next=")
        _client, place = company.come(client, reverse("account_change_password"))
        assert place == reverse("account_change_password")
        assert client.get(place).status_code == 200


def test_demand_ends_sessions_that_began_by_password(company: Company) -> None:
    member = _member(company)
    by_password, by_company = Client(REMOTE_ADDR="10.7.0.1"), Client()
    by_password.post(reverse("login"), {"login": member.email, "password": PASSWORD})
    company.person()
    company.come(by_company)
    exempt = _enforce(company)
    tasks.end_sessions_beside_company_login(tenant_id=company.tenant.pk)
    statuses = [
        client.get(reverse("account-sessions")).status_code for client in (by_password, by_company)
    ]
    assert statuses == [302, 200]
    assert exempt.pk not in company_operations.people_of_domains(tenant_id=company.tenant.pk)


def test_forgotten_password_leads_to_the_organisation(company: Company) -> None:
    member = _member(company)
    _enforce(company)
    tasks.send_password_reset(email=member.email)
    (message,) = outbox.outbox
    assert message.subject == "You sign in through your organisation"
    assert "Example SSO" in message.body


# --- settings ------------------------------------------------------------------------------------


def test_secret_is_sealed_and_in_no_audit_entry(company: Company) -> None:
    with open_scope(Scope((company.tenant.pk,))):
        stored = CompanyLogin.objects.get(pk=company.login.pk)
        trail = str(list(AuditEntry.objects.values_list("before", "after")))
    assert CLIENT_SECRET not in stored.sealed_secret
    assert stored.open_secret() == CLIENT_SECRET
    assert CLIENT_SECRET not in trail
    assert stored.sealed_secret not in trail


def test_openid_documents_are_cached(company: Company) -> None:
    company.person()
    document = openid.discover(company.provider.issuer)
    company.provider.change_document = lambda _document: {}
    assert openid.discover(company.provider.issuer) == document
