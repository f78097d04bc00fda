"""The portal's own background work."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.sessions.models import Session

from portal.celery import app
from portal.tasks import clear_sessions


@pytest.mark.django_db
def test_expired_sessions_are_deleted() -> None:
    now = datetime.now(UTC)
    Session.objects.create(session_key="expired", session_data="", expire_date=now)
    Session.objects.create(
        session_key="current", session_data="", expire_date=now + timedelta(days=1)
    )
    clear_sessions()
    ours = Session.objects.filter(session_key__in=("expired", "current"))
    assert [session.session_key for session in ours] == ["current"]


def test_every_scheduled_task_exists() -> None:
    app.loader.import_default_modules()
    assert {entry["task"] for entry in app.conf.beat_schedule.values()} <= set(app.tasks)
