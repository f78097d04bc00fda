"""What is written to the log tells of links and codes without being one."""

from __future__ import annotations

import logging

import pytest
from django.core.exceptions import PermissionDenied
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


def test_refusal_is_one_line_and_a_fault_has_its_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    log = logging.getLogger("django.request")
    try:
        raise PermissionDenied
    except PermissionDenied as refusal:
        log.warning("Forbidden: %s", "/people/", exc_info=refusal)
        log.exception("Internal Server Error: %s", "/people/")
    warned, failed = caplog.records
    assert warned.exc_info is None
    assert failed.exc_info is not None
