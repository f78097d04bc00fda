"""A tenant's sign-in settings: domains proven by a real name server, rules, and the demand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from allauth.socialaccount.models import SocialAccount
from django.contrib.messages import get_messages
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from portal.account import dns, tasks
from portal.tests import name_server
from portal.tests.name_server import NameServer
from tenants.domain import company_domains, company_operations, company_queries
from tenants.domain.authority import NotAllowed
from tenants.domain.company_domains import GRACE, DomainTaken
from tenants.domain.company_operations import LoginDraft, NotReady
from tenants.models import AuditEntry, CompanyDomain, CompanyLogin, SecondFactor, Tenant, User
from tenants.permissions import Role
from tenants.scope import Scope, open_scope
from tenants.tests import factories

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _tasks_run_at_once(settings: Settings) -> None:
    settings.CELERY_TASK_ALWAYS_EAGER = True


@pytest.fixture
def names(settings: Settings) -> Iterator[NameServer]:
    with name_server.running() as server:
        settings.DNS_RESOLVER = server.address
        yield server


@dataclass
class World:
    """A tenant with an administrator who is signed in."""

    tenant: Tenant
    admin: User
    client: Client

    @property
    def scope(self) -> Scope:
        """That of the tenant."""
        return Scope((self.tenant.pk,))

    def post(self, name: str, form: dict[str, Any] | None = None, *keys: object) -> Any:
        """Send a form."""
        return self.client.post(reverse(name, args=keys), form or {})

    def login(self) -> CompanyLogin:
        """The company login."""
        with open_scope(self.scope):
            return CompanyLogin.objects.get(tenant=self.tenant)

    def domain(self) -> CompanyDomain:
        """The one domain."""
        with open_scope(self.scope):
            return CompanyDomain.objects.get(tenant=self.tenant)


@pytest.fixture
def world(db: None) -> World:
    tenant = factories.tenant()
    with open_scope(Scope((tenant.pk,))):
        admin = factories.member(tenant, Role.ADMIN).user
    client = Client()
    client.force_login(admin)
    return World(tenant, admin, client)


def _form(**changes: str) -> dict[str, str]:
    values = {
        "name": "Example SSO",
        "issuer": "https://login.example.org",
        "client_id": "wattline",
        "client_secret": "s3cret",
        "extra_scopes": "",
        "groups_claim": "groups",
        "default_role": "analyst",
        "is_active": "on",
        "rules-TOTAL_FORMS": "2",
        "rules-INITIAL_FORMS": "0",
        "rules-0-group": "energy",
        "rules-0-role": "manager",
        "rules-1-group": "",
        "rules-1-role": "",
    }
    return values | changes


def _told(response: Any) -> str:
    return str(list(get_messages(response.wsgi_request))[-1])


def test_administrator_sets_up_a_company_login(world: World) -> None:
    assert world.post("company-login", _form()).status_code == 302
    login = world.login()
    assert (login.issuer, login.open_secret()) == ("https://login.example.org", "s3cret")
    assert login.role_rules == [["energy", "manager"]]
    page = world.client.get(reverse("sign-in-settings")).content.decode()
    assert f"/accounts/company/{login.key}/back" in page
    assert "s3cret" not in page
    assert "s3cret" not in world.client.get(reverse("company-login")).content.decode()


def test_secret_that_is_left_empty_stays_and_another_client_needs_another(world: World) -> None:
    world.post("company-login", _form())
    assert world.post("company-login", _form(client_secret="", name="SSO")).status_code == 302
    assert (world.login().name, world.login().open_secret()) == ("SSO", "s3cret")
    answer = world.post("company-login", _form(client_secret="", client_id="other"))
    assert "has another secret: type it, too" in answer.content.decode()
    assert world.login().client_id == "wattline"


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"issuer": "http://login.example.org"}, "must begin with https://"),
        ({"issuer": "https://me@login.example.org"}, "neither a user nor a query"),
        ({"issuer": "https://login.example.org?x=1"}, "neither a user nor a query"),
        ({"issuer": "https://[broken"}, "This is no address."),
        ({"client_secret": ""}, "The provider has given you a secret."),
        ({"rules-0-role": ""}, "A rule needs a group and a role."),
        ({"rules-0-group": ""}, "A rule needs a group and a role."),
        ({"default_role": "operator"}, "Select a valid choice"),  # more than an administrator has
        ({"name": ""}, "This field is required."),
    ],
)
def test_bad_input_gets_a_sentence(world: World, changes: dict[str, str], sentence: str) -> None:
    answer = world.post("company-login", _form(**changes))
    assert answer.status_code == 200
    assert sentence in answer.content.decode()
    with open_scope(world.scope):
        assert not CompanyLogin.objects.exists()


def _draft(**changes: Any) -> LoginDraft:
    values: dict[str, Any] = {
        "name": "SSO",
        "issuer": "https://login.example.org",
        "client_id": "wattline",
        "client_secret": "s3cret",
        "extra_scopes": "",
        "groups_claim": "groups",
        "role_rules": (),
        "default_role": "",
        "is_active": True,
    }
    return LoginDraft(**(values | changes))


def test_nobody_gives_more_by_a_rule_than_they_hold(world: World) -> None:
    with open_scope(world.scope):
        for changes in ({"role_rules": (("g", "operator"),)}, {"default_role": "operator"}):
            with pytest.raises(NotAllowed):
                company_operations.save_login(
                    tenant_id=world.tenant.pk, draft=_draft(**changes), actor_id=world.admin.pk
                )
        assert not CompanyLogin.objects.exists()


# --- domains -------------------------------------------------------------------------------------


def test_domain_is_proven_by_its_record(world: World, names: NameServer) -> None:
    world.post("company-login", _form())
    assert world.post("company-domain-add", {"domain": "Example.ORG."}).status_code == 302
    facts = company_queries.domain_facts(world.domain())
    assert facts.record_name == "_wattline-challenge.example.org"
    shown = world.client.get(reverse("sign-in-settings")).content.decode()
    assert facts.record_value in shown
    for records in ([], ["v=spf1 -all"], [facts.record_value[:-1]]):
        names.records = {facts.record_name: records} if records else {}
        answer = world.post("company-domain-check", {}, facts.domain_id)
        assert _told(answer).startswith("The record is not there yet.")
    assert company_queries.route_of(email="ada@example.org") is None
    names.records = {facts.record_name: ["v=spf1 -all", facts.record_value]}
    answer = world.post("company-domain-check", {}, facts.domain_id)
    assert _told(answer) == "example.org is proven."
    route = company_queries.route_of(email="Ada@EXAMPLE.org")
    assert route is not None
    assert (route.tenant_id, route.name) == (world.tenant.pk, "Example SSO")
    with open_scope(world.scope):
        actions = list(AuditEntry.objects.filter(action__startswith="company_domain"))
    assert sorted(entry.action for entry in actions) == [
        "company_domain.add",
        "company_domain.verify",
    ]


def test_name_server_that_does_not_answer_is_told(world: World, names: NameServer) -> None:
    world.post("company-login", _form())
    world.post("company-domain-add", {"domain": "example.org"})
    names.silent = True
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dns, "_LIFETIME_S", 0.3)
        answer = world.post("company-domain-check", {}, world.domain().pk)
    assert _told(answer).startswith("The name servers of the domain do not answer.")


@pytest.mark.parametrize(
    "domain", ["", "org", "ex ample.org", "-x.org", "1.2.3.4", "x" * 70 + ".org"]
)
def test_what_is_no_domain_is_refused(world: World, domain: str) -> None:
    world.post("company-login", _form())
    with open_scope(world.scope), pytest.raises(ValidationError):
        company_domains.add_domain(
            tenant_id=world.tenant.pk, domain=domain, actor_id=world.admin.pk
        )


def test_international_domain_is_kept_as_the_dns_has_it(world: World) -> None:
    world.post("company-login", _form())
    world.post("company-domain-add", {"domain": "stadtwerke-münchen.example"})
    assert world.domain().domain == "xn--stadtwerke-mnchen-e3b.example"


def _found(domain: CompanyDomain) -> Callable[[str], list[str]]:
    return lambda _name: [company_queries.domain_facts(domain).record_value]


def _check(world: World, look_up: Callable[[str], list[str]], now: datetime = NOW) -> CompanyDomain:
    return company_domains.check_domain(
        tenant_id=world.tenant.pk,
        domain_id=world.domain().pk,
        look_up=look_up,
        now=now,
        actor_id=world.admin.pk,
    )


def test_domain_counts_for_one_tenant(world: World) -> None:
    world.post("company-login", _form())
    world.post("company-domain-add", {"domain": "example.org"})
    other = factories.tenant()
    with open_scope(Scope((other.pk,))):
        factories.company_login(other)
        theirs = company_domains.add_domain(tenant_id=other.pk, domain="example.org", actor_id=None)
        company_domains.check_domain(
            tenant_id=other.pk,
            domain_id=theirs.pk,
            look_up=_found(theirs),
            now=NOW,
            actor_id=None,
        )
    with open_scope(world.scope), pytest.raises(DomainTaken):
        _check(world, _found(world.domain()))
    route = company_queries.route_of(email="x@example.org")
    assert route is not None
    assert route.tenant_id == other.pk


def test_domain_lapses_when_its_record_is_gone_for_days(world: World, names: NameServer) -> None:
    world.post("company-login", _form())
    world.post("company-domain-add", {"domain": "example.org"})
    with open_scope(world.scope):
        _check(world, _found(world.domain()))
        for age, counts in ((timedelta(0), True), (GRACE, False)):
            with pytest.raises(company_domains.RecordMissing):
                _check(world, lambda _name: [], NOW + timedelta(days=1) + age)
            assert (world.domain().verified_at is not None) is counts
    assert company_queries.route_of(email="x@example.org") is None


def test_record_that_is_back_in_time_is_forgiven(world: World) -> None:
    world.post("company-login", _form())
    world.post("company-domain-add", {"domain": "example.org"})
    with open_scope(world.scope):
        _check(world, _found(world.domain()))
        with pytest.raises(company_domains.RecordMissing):
            _check(world, lambda _name: [], NOW + timedelta(days=1))
        _check(world, _found(world.domain()), NOW + timedelta(days=2))
        with pytest.raises(company_domains.RecordMissing):
            _check(world, lambda _name: [], NOW + timedelta(days=3))
        with pytest.raises(company_domains.RecordMissing):
            _check(world, lambda _name: [], NOW + timedelta(days=9))
    assert world.domain().verified_at is not None


def test_daily_check_looks_at_all_tenants(world: World, names: NameServer) -> None:
    world.post("company-login", _form())
    world.post("company-domain-add", {"domain": "example.org"})
    with open_scope(world.scope):
        _check(world, _found(world.domain()))
    tasks.check_domains()
    assert world.domain().missing_since is not None
    facts = company_queries.domain_facts(world.domain())
    names.records = {facts.record_name: [facts.record_value]}
    tasks.check_domains()
    assert world.domain().missing_since is None


# --- the demand ----------------------------------------------------------------------------------


def test_login_is_demanded_once_it_is_known_to_work(world: World) -> None:
    world.post("company-login", _form())
    world.post("company-domain-add", {"domain": "an.address@example.org"})
    world.admin.set_password("correct horse battery staple")
    world.admin.save(update_fields=["password"])

    def demand(email: str) -> CompanyLogin:
        return company_operations.enforce(
            tenant_id=world.tenant.pk, enforced=True, break_glass_email=email, actor_id=None
        )

    with open_scope(world.scope):
        analyst = factories.member(world.tenant, Role.ANALYST).user
        with pytest.raises(NotReady, match="Prove at least one domain"):
            demand(world.admin.email)
        _check(world, _found(world.domain()))
        with pytest.raises(NotReady, match="Sign in through the company login once"):
            demand(world.admin.email)
        CompanyLogin.objects.filter(tenant=world.tenant).update(last_success_at=NOW)
        for email, sentence in (
            ("nobody@example.org", "must be a member"),
            (factories.user().email, "must be a member"),
            (analyst.email, "must be allowed"),
        ):
            with pytest.raises(NotReady, match=sentence):
                demand(email)
        assert demand(world.admin.email).is_enforced
        with pytest.raises(ValidationError):
            company_operations.save_login(
                tenant_id=world.tenant.pk, draft=_draft(is_active=False), actor_id=None
            )
        with pytest.raises(NotReady):
            company_domains.remove_domain(
                tenant_id=world.tenant.pk, domain_id=world.domain().pk, actor_id=None
            )


def test_demand_without_exempt_person_is_refused_by_the_form_and_the_database(
    world: World,
) -> None:
    world.post("company-login", _form())
    answer = world.post("company-enforce", {"enforced": "on", "break_glass_email": ""})
    assert "Name the person who keeps the password." in answer.content.decode()
    with open_scope(world.scope), pytest.raises(IntegrityError), transaction.atomic():
        CompanyLogin.objects.filter(tenant=world.tenant).update(is_enforced=True)


def test_removed_login_leaves_no_link(world: World) -> None:
    world.post("company-login", _form())
    world.post("company-domain-add", {"domain": "example.org"})
    login = world.login()
    SocialAccount.objects.create(provider=login.key, uid="1", user=world.admin)
    assert world.post("company-remove").status_code == 302
    assert not SocialAccount.objects.exists()
    with open_scope(world.scope):
        assert (CompanyLogin.objects.count(), CompanyDomain.objects.count()) == (0, 0)
    assert world.post("company-remove").status_code == 404


def test_policy_is_saved_and_told(world: World) -> None:
    assert world.post("sign-in-policy", {"second_factor": "nonsense"}).status_code == 200
    with open_scope(world.scope):
        for level, stricter in (
            (SecondFactor.OPTIONAL, False),
            (SecondFactor.STAFF, True),
            (SecondFactor.EVERYONE, True),
            (SecondFactor.STAFF, False),
        ):
            changed = company_operations.set_policy(
                tenant_id=world.tenant.pk, second_factor=level, actor_id=world.admin.pk
            )
            assert changed is stricter
        assert AuditEntry.objects.filter(action="sign_in_policy.change").count() == 3


@pytest.mark.parametrize("domains", [1, 3])
def test_settings_page_takes_a_fixed_number_of_queries(
    world: World, domains: int, django_assert_num_queries: Callable[[int], Any]
) -> None:
    world.post("company-login", _form())
    for number in range(domains):
        world.post("company-domain-add", {"domain": f"example{number}.org"})
    with open_scope(world.scope), django_assert_num_queries(3):
        found = company_queries.sign_in_settings(tenant_id=world.tenant.pk)
    assert len(found.domains) == domains
