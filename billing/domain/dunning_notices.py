"""Telling customers by mail what dunning did, once. Needs an open scope."""

from __future__ import annotations

from datetime import datetime

from billing.domain.dunning_queries import Letter, letter_of
from billing.models import DunningEvent


def claim(*, event_id: int) -> Letter | None:
    """What is to be mailed, held until the end of the transaction; None where it was mailed, or
    somebody else is at it.
    """
    rows = DunningEvent.objects.select_for_update(skip_locked=True, of=("self",))
    if not rows.filter(pk=event_id, mailed_at__isnull=True).exclude(mail_to="").exists():
        return None
    return letter_of(event_id=event_id)


def note_mailed(*, event_id: int, now: datetime) -> None:
    """Note that a customer was told."""
    DunningEvent.objects.filter(pk=event_id).update(mailed_at=now)
