"""What somebody who had an account for a moment, or had it before a rule came, must not keep."""

from __future__ import annotations

from typing import Any

import pytest
from django.core import mail as outbox
from django.core.cache import cache
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import Settings

from portal.tests.account_world import (
    NEW_PASSWORD,
    PASSWORD,
    add_app,
    browser,
    prove,
    sign_in,
    signed_in,
)
from portal.tests.oauth_world import commits
from tenants.domain import company_operations, operations_invitations
from tenants.domain.operations_invitations import Offer, write_letter
from tenants.models import SecondFactor, Tenant, User
from tenants.permissions import Role
from tenants.scope import Scope, open_scope
from tenants.tests import factories

__all__ = ["commits"]


@pytest.fixture(autouse=True)
def _plain(settings: Settings) -> None:
    settings.CELERY_TASK_ALWAYS_EAGER = True
    cache.clear()


@pytest.fixture
def user(commits: None) -> User:
    return factories.user(PASSWORD)


def _link(to: str, path: str) -> str:
    """The newest link to `path` that was sent to an address."""
    message = next(one for one in reversed(outbox.outbox) if one.to == [to])
    start = str(message.body).index(path)
    return str(message.body)[start:].split()[0]


def test_pending_change_of_address_ends_with_the_password(user: User) -> None:
    """Who was signed in for a moment must not get the account after its owner shut them out."""
    thief = sign_in(user)
    prove(thief)
    thief.post(reverse("account-email"), {"email": "thief@elsewhere.example"})
    link = _link("thief@elsewhere.example", "/account/email/")
    owner = browser()
    owner.post(reverse("password-forgotten"), {"email": user.email})
    page = owner.get(_link(user.email, "/accounts/password/"), follow=True)
    form = {"new_password1": NEW_PASSWORD, "new_password2": NEW_PASSWORD}
    assert owner.post(page.request["PATH_INFO"], form).status_code == 302
    assert not signed_in(thief)
    assert browser().post(link).status_code == 400
    assert User.objects.get(pk=user.pk).email == user.email


def test_change_of_address_is_done_by_its_link_once(user: User) -> None:
    client = sign_in(user)
    prove(client)
    client.post(reverse("account-email"), {"email": "new@elsewhere.example"})
    link = _link("new@elsewhere.example", "/account/email/")
    assert browser().get(link).status_code == 200
    assert browser().post(link).status_code == 302
    assert User.objects.get(pk=user.pk).email == "new@elsewhere.example"
    assert browser().post(link).status_code == 400


# --- a second factor that a new role demands ------------------------------------------------------


def _demanding(level: SecondFactor) -> Tenant:
    tenant = factories.tenant()
    with open_scope(Scope((tenant.pk,))):
        company_operations.set_policy(tenant_id=tenant.pk, second_factor=level, actor_id=None)
    return tenant


def _join(client: Client, tenant: Tenant, user: User) -> Any:
    with open_scope(Scope((tenant.pk,))):
        made = operations_invitations.invite(
            tenant_id=tenant.pk,
            email=user.email,
            offer=Offer(role=Role.ANALYST, facility_ids=None, language="en"),
            now=timezone.now(),
            actor_id=None,
        )
        letter = write_letter(invitation_id=made.pk, now=timezone.now())
    assert letter is not None
    return client.post(reverse("invitation-accept", args=[letter.token]))


def test_who_joins_a_tenant_that_demands_it_sets_up_a_second_factor(user: User) -> None:
    client, elsewhere = sign_in(user), sign_in(user)
    assert _join(client, _demanding(SecondFactor.EVERYONE), user).status_code == 302
    assert client.get(reverse("overview"))["Location"] == reverse("mfa_index")
    assert not signed_in(elsewhere)
    add_app(user)
    assert client.get(reverse("overview")).status_code == 200


def test_who_has_a_second_factor_joins_and_goes_on(user: User) -> None:
    client = sign_in(user)
    add_app(user)
    assert _join(client, _demanding(SecondFactor.EVERYONE), user).status_code == 302
    assert client.get(reverse("overview")).status_code == 200


def test_who_gets_a_role_that_demands_it_signs_in_anew(user: User) -> None:
    tenant = _demanding(SecondFactor.STAFF)
    with open_scope(Scope((tenant.pk,))):
        admin = factories.member(tenant, Role.ADMIN).user
        member = factories.member(tenant, Role.CONSUMER)
    person = member.user
    person.set_password(PASSWORD)
    person.save(update_fields=["password"])
    client, administrator = sign_in(person), Client()
    assert signed_in(client)
    administrator.force_login(admin)
    form = {"role": "analyst", "reach": "all"}
    answer = administrator.post(reverse("person-role", args=[member.pk]), form)
    assert answer.status_code == 302
    assert not signed_in(client)
