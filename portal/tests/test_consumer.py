"""The consumer view: signing in as a client of the provider, its session, its pages."""

from __future__ import annotations

import pytest
from django.core.cache import cache

from devices.tests import factories
from devices.tests.factories import Park
from portal.tests import home

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "owner", "ingest"])


@pytest.fixture
def park() -> Park:
    cache.clear()
    return factories.park()


def test_consumer_signs_in_without_a_question_and_sees_the_own_home(park: Park) -> None:
    browser = home.signed_in(park.consumer(0))
    page = browser.get("/home/")
    assert page.status_code == 200, page.content
    text = page.content.decode()
    assert park.branches[0].facility.name in text
    assert park.branches[1].facility.name not in text
