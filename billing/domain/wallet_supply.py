"""Switching the units of a prepaid agreement off when its wallet is spent, and on again.

Through the command ledger, as everybody. What somebody else has switched since, or had switched off
before, is left as it is. Needs an open scope.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from billing.domain.dunning_units import units_of
from billing.models import Agreement, Wallet
from devices.commands.kinds import Kind
from devices.commands.states import Origin, State
from devices.domain import commands_operations
from devices.domain.commands_policy import SYSTEM
from devices.models import Command, DeviceConfiguration

_OUTPUT: Final = "output"
_REPEATS: Final = (Origin.RECONCILIATION.value, Origin.ROLLOUT.value)


def switch_off(wallet: Wallet, agreement: Agreement, *, now: datetime) -> list[int]:
    """Ask the units that supply this agreement alone to switch off; returns those that could not
    be asked.
    """
    ids = units_of(agreement, now=now)
    off = DeviceConfiguration.objects.filter(device__in=ids, desired__output=0)
    already = set(off.values_list("device_id", flat=True))
    reason = _("The prepaid wallet of agreement %(number)s is spent.") % {
        "number": agreement.number
    }
    return _ask(wallet, [pk for pk in ids if pk not in already], on=False, reason=reason, now=now)


def switch_on(wallet: Wallet, agreement: Agreement, *, now: datetime) -> list[int]:
    """Ask the units that this wallet has switched off, and nobody else since, to switch on; returns
    those that could not be asked.
    """
    reason = _("The prepaid wallet of agreement %(number)s was topped up.") % {
        "number": agreement.number
    }
    return _ask(wallet, _still_ours(wallet), on=True, reason=reason, now=now)


def _still_ours(wallet: Wallet) -> list[int]:
    """The units whose last switching was that of this wallet, and off."""
    ours = f"wallet:{wallet.pk}:"
    devices = Command.objects.filter(kind=Kind.SET_OUTPUT, request_key__startswith=ours)
    rows = (
        Command.objects.filter(
            kind=Kind.SET_OUTPUT, device__in=devices.values_list("device_id", flat=True)
        )
        .exclude(origin__in=_REPEATS)
        .order_by("device_id", "-pk")
        .distinct("device_id")
    )
    last = rows.values_list("device_id", "request_key", "arguments", "state")
    return [
        device_id
        for device_id, key, arguments, state in last
        # A person has refused, or cancelled, what this asked for: there is nothing to give back.
        if key.startswith(ours) and arguments.get(_OUTPUT) == 0 and state != State.CANCELLED
    ]


def _ask(wallet: Wallet, ids: list[int], *, on: bool, reason: str, now: datetime) -> list[int]:
    missed = []
    for device_id in ids:
        try:
            commands_operations.ask(
                SYSTEM,
                kind=Kind.SET_OUTPUT,
                arguments={_OUTPUT: int(on)},
                device_ids=[device_id],
                reason=reason,
                origin=Origin.BILLING,
                request_key=f"wallet:{wallet.pk}:{wallet.switchings}:{device_id}",
                now=now,
            )
        except ValidationError:
            missed.append(device_id)
    return missed
