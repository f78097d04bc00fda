"""Applications: registered, changed, refused, with a secret that is shown once."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from devices.tests import factories
from portal.benchmarks import tokens
from portal.enterprise.administration.application_pages import snippet
from portal.oauth.bearer import InvalidToken, authenticate
from tenants.domain import (
    application_operations,
    application_queries,
    operations,
    operations_roles,
)
from tenants.domain.authority import NotAllowed
from tenants.models import Application, ApplicationKind, AuditEntry, Consent, Tenant, User
from tenants.permissions import ACCESS_SCOPES, PERSONAL_SCOPES, Permission, Role
from tenants.scope import Scope, open_scope
from tenants.tests.factories import application as make_application
from tenants.tests.factories import authorization

IMPERSONAL = [name for name in ACCESS_SCOPES if name not in PERSONAL_SCOPES]


@pytest.fixture
def ours(db: None) -> Tenant:
    return factories.tenant()


@pytest.fixture
def admin(ours: Tenant) -> User:
    with open_scope(Scope((ours.pk,))):
        return factories.member(ours, Role.ADMIN).user


@pytest.fixture
def client(admin: User) -> Client:
    client = Client()
    client.force_login(admin)
    return client


def _register(client: Client, kind: str, **form: Any) -> Any:
    return client.post(f"{reverse('application-new')}?kind={kind}", form)


def _secret(html: str) -> str:
    found = re.search(r'<code id="secret">([^<]+)</code>', html)
    assert found is not None
    return found[1]


def _only(of: Tenant) -> Application:
    with open_scope(Scope((of.pk,))):
        return Application.objects.get()


# --- register -----------------------------------------------------


def test_a_web_application_is_registered_and_its_secret_shown_once(
    client: Client, ours: Tenant, admin: User
) -> None:
    answer = _register(
        client,
        "web",
        name="Dashboard",
        redirect_uris="https://app.example.org/callback\nhttps://app.example.org/other\n",
        backchannel_logout_uri="https://app.example.org/logout",
        allowed_scopes=["openid", "readings:read"],
    )
    assert answer.status_code == 200
    secret = _secret(answer.content.decode())
    row = _only(ours)
    assert row.kind is ApplicationKind.WEB
    assert row.redirect_uris == "https://app.example.org/callback https://app.example.org/other"
    assert row.allowed_scopes == ["openid", "readings:read"]
    assert row.client_secret.startswith("secret_sha256$")
    assert not row.skip_authorization
    page = client.get(reverse("application", args=[row.pk])).content.decode()
    assert secret not in page
    assert row.client_id in page
    with open_scope(Scope((ours.pk,))):
        entry = AuditEntry.objects.get(action="application.register")
    assert entry.actor_id == admin.pk
    assert secret not in json.dumps(entry.after)


@pytest.mark.parametrize(
    ("kind", "form"),
    [
        ("native", {"redirect_uris": "org.example.app:/callback"}),
        ("device", {}),
    ],
)
def test_an_application_without_a_secret_shows_none(
    client: Client, ours: Tenant, kind: str, form: dict[str, str]
) -> None:
    answer = _register(client, kind, name="App", allowed_scopes=["openid"], **form)
    row = _only(ours)
    assert answer["Location"] == reverse("application", args=[row.pk])
    assert row.kind == kind
    assert row.client_type == Application.CLIENT_PUBLIC


def test_a_service_account_is_bound_to_the_chosen_facilities(client: Client, ours: Tenant) -> None:
    with open_scope(Scope((ours.pk,))):
        facility = factories.facility(ours)
        factories.facility(ours)
    form = {"name": "Robot", "allowed_scopes": ["readings:read"], "reach": "chosen"}
    assert "Choose at least one facility" in _register(client, "service", **form).content.decode()
    answer = _register(client, "service", **form, facilities=[facility.pk])
    secret = _secret(answer.content.decode())
    assert _only(ours).facility_ids == [facility.pk]
    token = Client().post(
        reverse("oauth:token"),
        {
            "grant_type": "client_credentials",
            "client_id": _only(ours).client_id,
            "client_secret": secret,
        },
    )
    bearer = authenticate(token.json()["access_token"])
    assert bearer.scope == Scope((ours.pk,), (facility.pk,))


@pytest.mark.parametrize(
    ("kind", "form", "sentence"),
    [
        ("web", {"redirect_uris": ""}, "This field is required"),
        ("web", {"redirect_uris": "http://app.example.org/"}, "must begin with https://"),
        ("web", {"redirect_uris": "https://*.example.org/"}, "no wildcard"),
        ("web", {"redirect_uris": "https://a.example.org/ javascript:alert(1)"}, "https://"),
        ("web", {"redirect_uris": "https://a.example.org/#x"}, "no fragment"),
        (
            "web",
            {"redirect_uris": "https://a.example.org/", "backchannel_logout_uri": "ftp://a"},
            "must begin with https://",
        ),
        ("web", {"redirect_uris": "https://a.example.org/", "allowed_scopes": []}, "required"),
        (
            "service",
            {"reach": "all", "allowed_scopes": ["openid"]},
            "openid is not one of the available choices",
        ),
        ("device", {"name": ""}, "This field is required"),
    ],
)
def test_a_bad_registration_says_what_is_wrong(
    client: Client, ours: Tenant, kind: str, form: dict[str, Any], sentence: str
) -> None:
    values = {"name": "App", "allowed_scopes": ["readings:read"], **form}
    answer = _register(client, kind, **values)
    assert answer.status_code == 422
    assert sentence in answer.content.decode()
    with open_scope(Scope((ours.pk,))):
        assert not Application.objects.exists()


def test_an_unknown_kind_is_asked_for(client: Client) -> None:
    html = client.get(reverse("application-new"), {"kind": "nonsense"}).content.decode()
    assert html.count('href="?kind=') == len(ApplicationKind)


# --- change -------------------------------------------------------


def _issue(of: Tenant, row: Application, user: User | None = None) -> str:
    with open_scope(Scope((of.pk,))):
        value, _token = tokens.issue(row, user_id=user.pk if user else None)
    authenticate(value)
    return value


def _is_valid(token: str) -> bool:
    try:
        authenticate(token)
    except InvalidToken:
        return False
    return True


@pytest.fixture
def service(ours: Tenant) -> Application:
    with open_scope(Scope((ours.pk,))):
        return make_application(
            ours, authorization_grant_type=Application.GRANT_CLIENT_CREDENTIALS
        )[0]


def _change(client: Client, row: Application, **form: Any) -> Any:
    values = {"name": row.name, "allowed_scopes": row.allowed_scopes, "reach": "all", **form}
    return client.post(reverse("application-change", args=[row.pk]), values)


@pytest.mark.django_db(transaction=True, databases=["default", "owner", "ingest"])
@pytest.mark.parametrize(
    ("form", "stays"),
    [
        ({"name": "Another name"}, True),
        ({"allowed_scopes": IMPERSONAL[:1]}, False),
        ({"reach": "chosen", "facilities": [1]}, False),
    ],
)
def test_tokens_that_may_too_much_end_with_the_change(form: dict[str, Any], stays: bool) -> None:
    ours = factories.tenant()
    with open_scope(Scope((ours.pk,))):
        admin = factories.member(ours, Role.ADMIN).user
        kind = Application.GRANT_CLIENT_CREDENTIALS
        row = make_application(ours, authorization_grant_type=kind)[0]
    client = Client()
    client.force_login(admin)
    token = _issue(ours, row)
    assert _change(client, row, **form).status_code == 302
    assert _is_valid(token) == stays


def test_a_change_is_told_with_before_and_after(
    client: Client, ours: Tenant, service: Application
) -> None:
    _change(client, service, name="New name")
    _change(client, service, name="New name")
    with open_scope(Scope((ours.pk,))):
        entry = AuditEntry.objects.get(action="application.change")
    assert entry.before is not None
    assert entry.after is not None
    assert (entry.before["name"], entry.after["name"]) == (service.name, "New name")


def test_the_secret_is_replaced_at_once(client: Client, ours: Tenant) -> None:
    with open_scope(Scope((ours.pk,))):
        row, old = make_application(
            ours, authorization_grant_type=Application.GRANT_CLIENT_CREDENTIALS
        )
    new = _secret(client.post(reverse("application-secret", args=[row.pk])).content.decode())
    answers = [
        Client()
        .post(
            reverse("oauth:token"),
            {
                "grant_type": "client_credentials",
                "client_id": row.client_id,
                "client_secret": secret,
            },
        )
        .status_code
        for secret in (old, new)
    ]
    assert answers == [401, 200]
    with open_scope(Scope((ours.pk,))):
        entry = AuditEntry.objects.get(action="application.rotate_secret")
    assert new not in json.dumps([entry.before, entry.after])


def test_an_application_without_a_secret_gets_none(client: Client, ours: Tenant) -> None:
    with open_scope(Scope((ours.pk,))):
        row, _none = make_application(ours, client_type=Application.CLIENT_PUBLIC)
    answer = client.post(reverse("application-secret", args=[row.pk]), follow=True)
    assert "has no secret" in answer.content.decode()


@pytest.mark.django_db(transaction=True, databases=["default", "owner", "ingest"])
def test_deactivating_and_revoking_end_tokens_at_once() -> None:
    ours = factories.tenant()
    with open_scope(Scope((ours.pk,))):
        admin = factories.member(ours, Role.ADMIN).user
        row = make_application(ours, authorization_grant_type=Application.GRANT_CLIENT_CREDENTIALS)[
            0
        ]
    client = Client()
    client.force_login(admin)
    token = _issue(ours, row)
    client.post(reverse("application-tokens", args=[row.pk]))
    assert not _is_valid(token)
    token = _issue(ours, row)
    client.post(reverse("application-deactivate", args=[row.pk]))
    assert not _is_valid(token)
    client.post(reverse("application-activate", args=[row.pk]))
    assert _is_valid(_issue(ours, row))


def test_a_consent_is_revoked_on_the_page_of_its_application(
    client: Client, ours: Tenant, admin: User
) -> None:
    with open_scope(Scope((ours.pk,))):
        consent = authorization(ours, admin)
        other, _secret_of_other = make_application(ours)
    page = client.get(reverse("application", args=[consent.application_id])).content.decode()
    assert "Revoke for" in page
    wrong = reverse("application-consent", args=[other.pk, consent.pk])
    assert client.post(wrong).status_code == 404
    right = reverse("application-consent", args=[consent.application_id, consent.pk])
    assert client.post(right).status_code == 302
    with open_scope(Scope((ours.pk,))):
        assert not Consent.objects.exists()


def test_an_application_that_asks_nobody_is_changed_by_nobody(client: Client, ours: Tenant) -> None:
    """Who could change its addresses would get tokens of people who have allowed nothing."""
    with open_scope(Scope((ours.pk,))):
        row, _old = make_application(ours, skip_authorization=True)
    page = client.get(reverse("application", args=[row.pk])).content.decode()
    assert reverse("application-change", args=[row.pk]) not in page
    for name in ("application-change", "application-secret", "application-activate"):
        answer = client.post(
            reverse(name, args=[row.pk]),
            {"name": "Mine", "redirect_uris": "https://evil.example.org/", "allowed_scopes": []},
            follow=True,
        )
        assert "asks nobody for consent" in answer.content.decode()
    unchanged = _only(ours)
    assert (unchanged.name, unchanged.redirect_uris) == (row.name, row.redirect_uris)
    assert unchanged.client_secret == row.client_secret


# --- escalation ---------------------------------------------------


@pytest.fixture
def registrar(ours: Tenant, admin: User) -> User:
    """Somebody who may register applications and sees no readings."""
    with open_scope(Scope((ours.pk,))):
        draft = operations_roles.RoleDraft(
            name="Registrar",
            description="",
            permissions=frozenset({Permission.APPLICATIONS_CHANGE, Permission.FACILITIES_VIEW}),
        )
        role = operations_roles.create_role(tenant_id=ours.pk, draft=draft, actor_id=None)
        return _member_with(ours, role.pk)


def _member_with(of: Tenant, role_id: int) -> User:
    user = factories.user()
    operations.grant_membership(tenant_id=of.pk, user_id=user.pk, role=role_id, actor_id=None)
    return user


def test_nobody_gets_more_by_a_service_account_than_by_the_own_role(
    ours: Tenant, registrar: User, service: Application
) -> None:
    client = Client()
    client.force_login(registrar)
    form = {"name": "Robot", "reach": "all"}
    refused = _register(client, "service", **form, allowed_scopes=["readings:read"])
    assert refused.status_code == 422
    assert "permissions that you do not have yourself" in refused.content.decode()
    allowed = _register(client, "service", **form, allowed_scopes=["facilities:read"])
    assert allowed.status_code == 200
    # Neither by the secret of one that is there, nor by giving it more.
    stolen = client.post(reverse("application-secret", args=[service.pk]), follow=True)
    assert "permissions that you do not have yourself" in stolen.content.decode()
    with open_scope(Scope((ours.pk,))):
        mine = Application.objects.get(name="Robot")
    assert _change(client, mine, allowed_scopes=["readings:read"]).status_code == 422
    with open_scope(Scope((ours.pk,))):
        mine.refresh_from_db()
    assert mine.allowed_scopes == ["facilities:read"]
    # A web application does nothing but what each person allows it.
    web = _register(
        client,
        "web",
        name="Web",
        redirect_uris="https://a.example.org/",
        allowed_scopes=["readings:read"],
    )
    assert web.status_code == 200


def test_the_operation_asks_without_a_page_too(ours: Tenant, registrar: User) -> None:
    kind = ApplicationKind.SERVICE
    row = Application(
        tenant_id=ours.pk,
        name="Robot",
        client_type=kind.client_type,
        authorization_grant_type=kind.grant_type,
        allowed_scopes=["readings:read"],
    )
    with open_scope(Scope((ours.pk,))), pytest.raises(NotAllowed):
        application_operations.register_application(row, actor_id=registrar.pk)


# --- reading ------------------------------------------------------


def test_the_list_counts_people_and_valid_tokens(ours: Tenant, admin: User) -> None:
    now = datetime.now(UTC)
    with open_scope(Scope((ours.pk,))):
        consent = authorization(ours, admin)
        (row,) = application_queries.application_rows(now=now)
        assert (row.pk, row.people, row.tokens) == (consent.application_id, 1, 2)
        (later,) = application_queries.application_rows(now=now + timedelta(hours=1))
        assert later.tokens == 1


def test_the_list_says_whether_an_application_may_be_used(
    client: Client, ours: Tenant, admin: User
) -> None:
    with open_scope(Scope((ours.pk,))):
        authorization(ours, admin)
    text = client.get(reverse("applications")).content.decode()
    assert '<span class="wl-tag" data-tone="good">Active</span>' in text


@pytest.mark.parametrize("count", [1, 3])
def test_lists_cost_a_fixed_number_of_queries(
    client: Client, ours: Tenant, admin: User, count: int
) -> None:
    def cost() -> int:
        with CaptureQueriesContext(connection) as context:
            assert client.get(reverse("applications")).status_code == 200
        return len(context)

    client.get(reverse("applications"))
    with open_scope(Scope((ours.pk,))):
        authorization(ours, admin)
    one = cost()
    with open_scope(Scope((ours.pk,))):
        for _ in range(count):
            authorization(ours, admin)
    assert cost() == one <= 14


def test_applications_of_another_tenant_do_not_exist(client: Client) -> None:
    other = factories.tenant()
    with open_scope(Scope((other.pk,))):
        row, _secret_of_row = make_application(other)
    assert row.name not in client.get(reverse("applications")).content.decode()
    assert client.get(reverse("application", args=[row.pk])).status_code == 404


@pytest.mark.parametrize("kind", list(ApplicationKind))
def test_every_kind_can_be_tried(ours: Tenant, kind: ApplicationKind) -> None:
    with open_scope(Scope((ours.pk,))):
        row, _secret_of_row = make_application(
            ours, client_type=kind.client_type, authorization_grant_type=kind.grant_type
        )
    steps = snippet(row)
    text = "\n".join(step["code"] for step in steps)
    assert row.client_id in text
    assert "/api/v1/facilities" in text
    assert ("$CLIENT_SECRET" in text) == (row.client_type == Application.CLIENT_CONFIDENTIAL)
