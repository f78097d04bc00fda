"""A form is done where it was opened, or not at all."""

from __future__ import annotations

import re

import pytest
from django.test import Client
from django.urls import reverse

from devices.models import Facility
from devices.tests import factories
from portal.middleware import CURRENT_TENANT
from tenants.domain import operations
from tenants.models import Membership, Tenant, User
from tenants.permissions import Role
from tenants.scope import Scope, open_scope

pytestmark = pytest.mark.django_db

FACILITY = {"name": "Workshop", "kind": "site", "time_zone": "Europe/Berlin"}


def administrator(*tenants: Tenant) -> User:
    """Somebody who administers all of them."""
    user = factories.user()
    for tenant in tenants:
        with open_scope(Scope((tenant.pk,))):
            operations.grant_membership(
                tenant_id=tenant.pk, user_id=user.pk, role=Role.ADMIN, actor_id=None
            )
    return user


def opened(client: Client, path: str) -> dict[str, str]:
    """The hidden fields of the page's form, as a browser would send them back."""
    html = client.get(path).content.decode()
    found = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', html)
    return dict(found)


def switch(client: Client, tenant: Tenant) -> None:
    client.post(reverse("switch-tenant"), {"tenant": str(tenant.pk)})


def facilities_of(*tenants: Tenant) -> list[str]:
    with open_scope(Scope(tuple(tenant.pk for tenant in tenants))):
        return list(Facility.objects.values_list("name", flat=True))


def test_form_of_another_window_is_not_done_in_the_tenant_switched_to() -> None:
    one, two = factories.tenant(), factories.tenant()
    client = Client()
    client.force_login(administrator(one, two))
    switch(client, one)
    form = {**opened(client, reverse("facility-create")), **FACILITY}
    switch(client, two)
    refused = client.post(reverse("facility-create"), form)
    assert refused.status_code == 409
    html = refused.content.decode()
    assert f"opened in {one.name}. In another window you have switched to {two.name}" in html
    assert f'name="tenant" value="{one.pk}"' in html
    assert facilities_of(one, two) == []
    switch(client, one)
    assert client.post(reverse("facility-create"), form).status_code == 302
    assert facilities_of(one) == ["Workshop"]
    assert facilities_of(two) == []


def test_form_opened_as_oneself_is_not_done_as_somebody_else() -> None:
    above = factories.tenant()
    below = factories.tenant(above)
    with open_scope(Scope((above.pk,))):
        support = factories.member(above, Role.SUPPORT).user
    with open_scope(Scope((below.pk,))):
        person = factories.member(below, Role.MANAGER)
    client = Client()
    client.force_login(support)
    begin = reverse("impersonation-begin", args=[person.pk])
    form = {**opened(client, begin), "reason": "The chart of the bakery stays empty"}
    client.post(begin, form)
    refused = client.post(reverse("device-states"), form)
    assert refused.status_code == 409
    assert "opened as somebody else" in refused.content.decode()


def test_what_is_the_persons_own_is_done_wherever_he_works() -> None:
    one, two = factories.tenant(), factories.tenant()
    user = administrator(one, two)
    client = Client()
    client.force_login(user)
    switch(client, one)
    form = opened(client, reverse("switch-tenant"))
    switch(client, two)
    assert client.post(reverse("switch-tenant"), {**form, "tenant": one.pk}).status_code == 302
    assert client.session[CURRENT_TENANT] == one.pk


def test_whoever_lost_the_tenant_is_told_without_its_name() -> None:
    one, two = factories.tenant(), factories.tenant()
    client = Client()
    client.force_login(administrator(one, two))
    switch(client, one)
    form = {**opened(client, reverse("facility-create")), **FACILITY}
    with open_scope(Scope((one.pk,))):
        Membership.objects.all().delete()
    refused = client.post(reverse("facility-create"), form)
    assert refused.status_code == 409
    assert one.name not in refused.content.decode()
    assert facilities_of(one, two) == []
