"""What is written to the log tells of links and codes without being one."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from portal.tests.oauth_world import no_leftovers

__all__ = ["no_leftovers"]

pytestmark = pytest.mark.django_db

TOKEN = "kept-by-one-person-alone"


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("invitation-accept", [TOKEN]),
        ("account-email-confirm", [TOKEN]),
        ("password-set", ["MQ", TOKEN]),
        ("claim-code", [TOKEN]),
    ],
)
def test_link_of_a_mail_is_not_in_the_log(
    caplog: pytest.LogCaptureFixture, name: str, arguments: list[str]
) -> None:
    browser = Client(enforce_csrf_checks=True)
    path = reverse(name, args=arguments)
    for answer in (browser.get(path), browser.post(path), browser.put(path)):
        assert answer.status_code != 500
    assert caplog.records
    assert TOKEN not in caplog.text
    assert TOKEN not in "".join(str(record.args) for record in caplog.records)
