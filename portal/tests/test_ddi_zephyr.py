"""What Zephyr's client demands of a DDI server, besides what all clients do.

Source: subsys/mgmt/hawkbit of Zephyr (3.0 … 4.2). It takes one file of one module of the kind
`bApp`, by the link `download-http` also over TLS, and of the link the path alone. Before 4.1 it
asks for the tenant `default` and looks for `/DEFAULT/controller/v1` in the answer. A token that is
set at run time has 32 characters at most.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.core.cache import cache
from django.test import Client
from pytest_django import Settings

from devices.tests import factories as devices
from firmware.artifacts import places
from firmware.models import RolloutTarget, TargetState
from portal.tests.ddi_world import Ddi, number_in, offered, speaking, state_of, whole
from tenants.models import Tenant
from tenants.scope import Scope, open_scope

pytestmark = pytest.mark.django_db

IMAGE = bytes(range(256)) * 40
TOKEN_ROOM = 32


@pytest.fixture(autouse=True)
def store(settings: Settings, tmp_path: Path) -> Iterator[None]:
    """A store of its own, and nothing counted yet."""
    kept = places.in_folder(tmp_path / "firmware")
    settings.STORAGES = {**settings.STORAGES, "firmware": kept}
    cache.clear()
    yield
    cache.clear()


@dataclass
class Zephyr:
    """The client: its tenant, its device, and whether it speaks TLS."""

    tenant: str
    ddi: Ddi
    tls: bool

    def ask(self, path: str) -> Any:
        """GET by the connection that it has."""
        return Client().get(path, secure=self.tls, headers=self._headers())

    def poll(self) -> dict[str, Any]:
        """What there is to do."""
        answer = self.ask(self._root)
        assert answer.status_code == 200
        links: dict[str, Any] = answer.json()["_links"]
        return links

    def update(self, demanded: str) -> bytes:
        """Fetch what is deployed, and say that it runs; `demanded`: what the link is looked through
        for."""
        action = number_in(self.poll()["deploymentBase"]["href"])
        told = self.ask(f"{self._root}/deploymentBase/{action}").json()
        (chunk,) = told["deployment"]["chunks"]
        assert chunk["part"] == "bApp"
        (file,) = chunk["artifacts"]
        href = file["_links"]["download-http"]["href"]
        assert demanded in href
        fetched = whole(self.ask(urlsplit(href).path))
        body = {
            "id": told["id"],
            "status": {"execution": "closed", "result": {"finished": "success"}},
        }
        path = f"{self._root}/deploymentBase/{action}/feedback"
        answer = Client().post(
            path,
            body,
            content_type="application/json;charset=UTF-8",
            secure=self.tls,
            headers=self._headers(),
        )
        assert answer.status_code == 200
        return fetched

    @property
    def _root(self) -> str:
        return f"/{self.tenant}/controller/v1/{self.ddi.device.serial}"

    def _headers(self) -> dict[str, str]:
        return {"authorization": f"TargetToken {self.ddi.token[:TOKEN_ROOM]}"}


def _named_default() -> Tenant:
    tenant = devices.tenant()
    with open_scope(Scope((tenant.pk,))):
        Tenant.objects.filter(pk=tenant.pk).update(slug="default")
        tenant.refresh_from_db()
    return tenant


def _offered(ddi: Ddi) -> RolloutTarget:
    return offered(ddi, IMAGE, form="mcuboot")


@pytest.mark.parametrize("tls", [False, True])
def test_client_updates_with_and_without_tls(tls: bool) -> None:
    ddi = speaking()
    target = _offered(ddi)
    client = Zephyr(ddi.tenant.slug, ddi, tls)
    assert client.update(f"/{ddi.tenant.slug}/controller/v1") == IMAGE
    assert state_of(ddi, target) == TargetState.SUCCEEDED


def test_client_that_knows_one_tenant_updates() -> None:
    ddi = speaking(_named_default())
    target = _offered(ddi)
    assert Zephyr("default", ddi, tls=True).update("/DEFAULT/controller/v1") == IMAGE
    assert state_of(ddi, target) == TargetState.SUCCEEDED


def test_tenant_is_the_same_in_capitals() -> None:
    ddi = speaking()
    capitals = ddi.tenant.slug.upper()
    target = _offered(ddi)
    assert Zephyr(capitals, ddi, tls=False).update(f"/{capitals}/controller/v1") == IMAGE
    assert state_of(ddi, target) == TargetState.SUCCEEDED


def test_token_fits_what_the_client_keeps() -> None:
    assert len(speaking().token) == TOKEN_ROOM
