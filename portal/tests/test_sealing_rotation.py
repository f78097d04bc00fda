"""The keys of sealed secrets are replaced while the portal goes on."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal.auth import TOTP
from django.core.management import call_command
from django.db import connections, transaction
from pytest_django import Settings

from portal.account.adapter import MfaAdapter
from tenants import sealing
from tenants.tests import factories

PASSWORD = "correct horse battery staple"


@pytest.mark.django_db(transaction=True, databases=["default", "ingest", "owner"])
def test_secret_that_is_saved_during_a_rotation_stays_readable(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.SEALING_KEYS_DIR = tmp_path / "sealing"
    user = factories.user(PASSWORD)
    sealed, rotated = threading.Event(), threading.Event()
    rotate = sealing.rotate

    def rotating() -> str:
        name = rotate()
        rotated.set()
        return name

    def set_up() -> None:
        try:
            with transaction.atomic():
                TOTP.activate(user, "A" * 32)
                sealed.set()
                assert rotated.wait(20)
                # Long enough for the command to have gone through the table.
                committing.wait(1)
        finally:
            connections.close_all()

    committing = threading.Event()
    monkeypatch.setattr(sealing, "rotate", rotating)
    person = threading.Thread(target=set_up)
    person.start()
    assert sealed.wait(20)
    call_command("rotate_sealing_key")
    person.join(20)
    kept = Authenticator.objects.get(user=user).data["secret"]
    assert MfaAdapter().decrypt(kept) == "A" * 32
    assert sealing.is_current(kept)
    assert len(list(settings.SEALING_KEYS_DIR.glob("*.key"))) == 1
