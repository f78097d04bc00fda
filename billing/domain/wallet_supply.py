"""Switching the units of a prepaid agreement off when its wallet is spent, and on again.

Through the command ledger, as everybody. What somebody else has switched since, or had switched off
before, is left as it is. Needs an open scope.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

from django.core.exceptions import ValidationError
from django.utils.translation import gettext as _

from billing.domain.dunning_units import off_by_others, units_of
from billing.models import Agreement, Wallet
from devices.commands.kinds import Kind
from devices.commands.states import Cause, Origin, State
from devices.domain import commands_operations
from devices.domain.commands_policy import SYSTEM
from devices.models import Command

_OUTPUT: Final = "output"
_REPEATS: Final = (Origin.RECONCILIATION.value, Origin.ROLLOUT.value)


def switch_off(wallet: Wallet, agreement: Agreement, *, now: datetime) -> list[int]:
    """Ask the units that supply this agreement alone to switch off; returns those that could not
    be asked.
    """
    ids = units_of(agreement, now=now)
    already = off_by_others(ids)
    reason = _("The prepaid wallet of agreement %(number)s is spent.") % {
        "number": agreement.number
    }
    return _ask(wallet, [pk for pk in ids if pk not in already], on=False, reason=reason, now=now)


def switch_on(wallet: Wallet, agreement: Agreement, *, now: datetime) -> list[int]:
    """Ask the units that this wallet has switched off, and nobody else since, to switch on; returns
    those that could not be asked. These are switched on once they can be.
    """
    reason = _("The prepaid wallet of agreement %(number)s was topped up.") % {
        "number": agreement.number
    }
    missed = _ask(wallet, _still_ours(wallet), on=True, reason=reason, now=now)
    for device_id in missed:
        commands_operations.want_unasked(
            kind=Kind.SET_OUTPUT,
            arguments={_OUTPUT: 1},
            device_id=device_id,
            reason=reason,
            origin=Origin.BILLING,
            now=now,
        )
    return missed


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
    # A person has refused, or cancelled in time, what this asked for: there is nothing to give
    # back. What was sent before may have been done all the same.
    return [
        one.device_id
        for one in rows
        if one.request_key.startswith(ours)
        and one.arguments.get(_OUTPUT) == 0
        and (one.state != State.CANCELLED or one.attempts or one.cause == Cause.SUPERSEDED)
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
