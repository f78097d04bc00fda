"""Second factors that a tenant demands."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from allauth.mfa.models import Authenticator
from django.urls import reverse

from portal.account import session
from portal.tests.account_world import (
    add_app,
    code_of,
    commit,
    counters_start_anew,
    member_of,
    prove,
    sign_in,
    tasks_run_at_once,
    user,
)
from tenants.domain import company_operations
from tenants.models import SecondFactor, Tenant
from tenants.permissions import Role
from tenants.scope import Scope, open_scope
from tenants.tests import factories

__all__ = ["commit", "counters_start_anew", "tasks_run_at_once", "user"]


def _demanding(level: SecondFactor, parent: Tenant | None = None) -> Tenant:
    tenant = factories.tenant(parent)
    with open_scope(Scope((tenant.pk,))):
        company_operations.set_policy(tenant_id=tenant.pk, second_factor=level, actor_id=None)
    return tenant


@pytest.mark.django_db
def test_who_has_no_second_factor_is_led_to_it_before_anything_else() -> None:
    user = member_of(_demanding(SecondFactor.EVERYONE), Role.MANAGER)
    client = sign_in(user)
    security = reverse("mfa_index")
    for path in ("/", reverse("account-profile"), "/oauth/authorize?client_id=x"):
        assert client.get(path)["Location"] == security
    refused = client.get(reverse("api:me"))
    assert (refused.status_code, refused["Content-Type"]) == (403, "application/problem+json")
    assert client.get(security).status_code == 200
    prove(client)
    page = client.get(reverse("mfa_activate_totp")).content.decode()
    found = re.search(r'wl-key">([A-Z2-7]+)<', page)
    assert found is not None
    client.post(reverse("mfa_activate_totp"), {"code": code_of(found[1])})
    assert client.get("/").status_code == 200
    # The last one stays, as long as it is demanded.
    prove(client)
    answer = client.post(reverse("mfa_deactivate_totp"))
    assert "Your organisation asks for a second factor" in answer.content.decode()
    assert Authenticator.objects.filter(user=user, type="totp").exists()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("level", "role", "demanded"),
    [
        (SecondFactor.OPTIONAL, Role.ADMIN, False),
        (SecondFactor.STAFF, Role.CONSUMER, False),
        (SecondFactor.STAFF, Role.ANALYST, True),
        (SecondFactor.EVERYONE, Role.CONSUMER, True),
    ],
)
def test_demand_is_for_whom_the_tenant_says_and_for_tenants_below(
    level: SecondFactor, role: Role, demanded: bool
) -> None:
    tenant = _demanding(level)
    for of in (tenant, factories.tenant(tenant)):
        client = sign_in(member_of(of, role))
        assert client.session.get(session.SET_UP, False) is demanded
    assert session.SET_UP not in sign_in(member_of(factories.tenant(), role)).session


@pytest.mark.django_db
def test_first_demand_ends_the_sessions_of_those_without(commit: Callable[[], Any]) -> None:
    tenant = factories.tenant()
    admin, member = member_of(tenant, Role.ADMIN), member_of(tenant, Role.MANAGER)
    here, there = sign_in(admin), sign_in(member)
    prove(here)
    form = {"second_factor": "everyone"}
    refused = here.post(reverse("sign-in-policy"), form)
    assert refused["Location"] == reverse("mfa_index")  # oneself first
    secret = add_app(admin)
    prove(here)
    with commit():
        assert here.post(reverse("sign-in-policy"), form)["Location"] == reverse("sign-in-settings")
    assert here.get("/").status_code == 200
    assert there.get("/").status_code == 302
    assert secret
