"""A tenant with a facility and a device, for the tests of the registry's pages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from django.test import Client

from devices.domain import operations
from devices.models import (
    Device,
    Facility,
)
from devices.tests import factories
from tenants.models import Tenant, User
from tenants.permissions import Role
from tenants.scope import Scope, open_scope


@dataclass
class Place:
    """A tenant with a facility and a device, and somebody who keeps them."""

    tenant: Tenant
    facility: Facility
    device: Device
    user: User

    @property
    def scope(self) -> Scope:
        """All of the tenant."""
        return Scope((self.tenant.pk,))

    @property
    def client(self) -> Client:
        """Signed in."""
        client = Client()
        client.force_login(self.user)
        return client


def new_place(tenant: Tenant | None = None, role: Role = Role.ADMIN) -> Place:
    """A new one, with a person of the role."""
    of = tenant or factories.tenant()
    with open_scope(Scope((of.pk,))):
        at = factories.facility(of)
        return Place(of, at, factories.device(at).device, factories.member(of, role).user)


@pytest.fixture
def ours() -> Place:
    """The place that a test works in."""
    return new_place()


@pytest.fixture
def theirs() -> Place:
    """A place of another tenant."""
    return new_place()


def report(device: Device) -> None:
    """As if the device had sent a message: an allocation has the same effect and needs no other
    connection."""
    load = operations.create_load(
        tenant_id=device.tenant_id,
        facility_id=device.facility_id,
        name="Oven",
        actor_id=None,
    )
    operations.allocate_channel(
        channel_id=device.channels.get(number=0).pk,
        load_id=load.pk,
        starts_at=factories.START,
        actor_id=None,
    )


def text_of(response: Any) -> str:
    """What a page says."""
    return str(response.content.decode())


def edit_form(client: Client, address: str) -> dict[str, str]:
    """The fields of a form as a browser would send them."""
    form = client.get(address).context["form"]
    values = {name: form[name].value() for name in form.fields}
    return {name: "" if value is None else str(value) for name, value in values.items()}
