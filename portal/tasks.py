"""Background work of the portal itself; `celery.py` says when."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from celery import shared_task
from django.conf import settings

from tenants.tasks import KeywordTask


@shared_task(base=KeywordTask, name="portal.clear_sessions")
def clear_sessions(**_: Any) -> None:
    """Delete sessions that have expired: they open nothing, but their table only grows."""
    import_module(settings.SESSION_ENGINE).SessionStore.clear_expired()
