"""Fixtures of the portal's tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.test import Client
from pytest_django import DjangoDbBlocker, Settings

from devices.tests import factories
from firmware.artifacts import places
from portal.tests.permission_rows.world import World, make_world


@pytest.fixture(autouse=True)
def plain_storages(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Pages are rendered without the manifest of hashed names, which `collectstatic` makes; images
    of firmware and documents of bills lie in the tests' own folder.
    """
    storage = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    firmware = places.in_folder(tmp_path_factory.getbasetemp() / "firmware")
    bills = places.in_folder(tmp_path_factory.getbasetemp() / "bills")
    own = {"staticfiles": storage, "firmware": firmware, "bills": bills}
    settings.STORAGES = {**settings.STORAGES, **own}


@pytest.fixture(scope="module")
def world(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[World]:
    """Committed once for the module, because telemetry comes by another connection."""
    with django_db_blocker.unblock():
        yield make_world()
        factories.remove_everything()


@pytest.fixture(scope="module")
def clients(world: World, django_db_blocker: DjangoDbBlocker) -> dict[str, Client]:
    """A signed-in browser for each person, as far as somebody is there to sign in."""
    found = {}
    with django_db_blocker.unblock():
        for person in world.people:
            found[person.name] = client = Client()
            if person.user is not None:
                client.force_login(person.user)
    return found
