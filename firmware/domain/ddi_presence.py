"""When DDI devices count as away."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from devices.domain import presence
from firmware.models import DdiSettings
from firmware.models.ddi import POLLING_S

# So many intervals without a question: one may be lost on a bad link, and clients add some delay.
MISSED: Final = 3


def close_silent(*, tenant_ids: Sequence[int], now: datetime) -> int:
    """Take devices of these tenants (of the scope) as disconnected that have missed MISSED
    intervals; returns how many.
    """
    own = dict(
        DdiSettings.objects.filter(tenant_id__in=tenant_ids).values_list("tenant_id", "polling_s")
    )
    silence = {pk: MISSED * own.get(pk, POLLING_S) for pk in tenant_ids}
    return presence.close_silent(silence_s=silence, now=now)
