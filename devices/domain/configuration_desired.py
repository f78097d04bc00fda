"""What is wanted of devices: it changes with the commands that say so, in their transaction.

Needs an open scope; the devices are those of the scope.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from django.db import connection, transaction

from devices.configuration.reconciliation import Standing, wanted_anew
from devices.configuration.settings import KINDS
from devices.models import DeviceConfiguration
from devices.telemetry import control_store
from devices.telemetry.control_store import Wish

# What repeats what is wanted already changes nothing of it.
_REPEATS: Final = frozenset({"reconciliation"})


@transaction.atomic
def want(*, device_ids: Sequence[int], wish: Wish, told: bool) -> list[int]:
    """Want something else of devices; returns those of which something else was wanted before.

    `told`: a command says so, which counts as the first attempt. `wish.changes` are settings as
    they travel (`checked_changes`).
    """
    control_store.open_rows(connection, device_ids)
    changed = control_store.want(connection, device_ids, wish)
    _begin_anew(device_ids, told=told, now=wish.now)
    return changed


def want_by_command(*, device_ids: Sequence[int], wish: Wish) -> None:
    """What a command brings along for what is wanted: nothing, unless it sets something."""
    settings = {key: value for key, value in wish.changes.items() if key in KINDS}
    if settings and wish.origin not in _REPEATS:
        want(device_ids=device_ids, wish=wish, told=True)


def hold(*, device_ids: Sequence[int]) -> None:
    """Lock what is wanted of devices until the transaction ends. Whoever locks commands as well
    does this first.
    """
    rows = DeviceConfiguration.objects.select_for_update().filter(device_id__in=device_ids)
    list(rows.order_by("pk").values_list("pk", flat=True))


@transaction.atomic
def take_back(*, device_ids: Sequence[int], wish: Wish) -> list[int]:
    """A command that was never sent is not wanted any more: want what was wanted before it.

    Where something else has been wanted since, that stays.
    """
    settings = {key: value for key, value in wish.changes.items() if key in KINDS}
    if not settings or wish.origin in _REPEATS:
        return []
    changed = control_store.take_back(connection, device_ids, wish)
    if changed:
        _begin_anew(changed, told=False, now=wish.now)
    return changed


def try_again(*, device_ids: Sequence[int], now: datetime) -> None:
    """Tell devices again what is wanted of them, whatever was tried."""
    _begin_anew(device_ids, told=False, now=now)


def hand_down(*, from_id: int, to_id: int, wish: Wish) -> None:
    """Want of a device what is wanted of another one whose place it takes."""
    found = DeviceConfiguration.objects.filter(device_id=from_id).values_list("desired", flat=True)
    desired = found.first()
    if desired:
        handed = Wish(desired, wish.origin, wish.reason, wish.actor_id, wish.now)
        want(device_ids=[to_id], wish=handed, told=False)


def _begin_anew(device_ids: Sequence[int], *, told: bool, now: datetime) -> None:
    standing = wanted_anew(Standing(), told=told, reports=True, now=now)
    control_store.begin_anew(
        connection,
        device_ids,
        attempts=standing.attempts,
        tried_at=standing.tried_at,
        next_at=standing.next_at,
    )
