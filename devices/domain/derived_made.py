"""Derived channels made and changed, and told of as clients see them."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from devices.domain import derived_operations, derived_queries
from devices.domain.catalogue import ChannelNotFound
from devices.domain.derived_operations import Derivation
from devices.domain.derived_queries import DerivedEntry, VersionEntry
from devices.domain.queries import DeviceNotFound
from devices.models import Channel, Device


@transaction.atomic
def derive(
    *,
    device_id: int,
    values: Derivation,
    valid_from: datetime | None,
    reason: str,
    actor_id: int | None,
    now: datetime,
) -> DerivedEntry:
    """As `derived_operations.derive_channel`; raises DeviceNotFound."""
    try:
        made = derived_operations.derive_channel(
            device_id=device_id,
            values=values,
            valid_from=valid_from,
            reason=reason,
            actor_id=actor_id,
            now=now,
        )
    except Device.DoesNotExist as error:
        raise DeviceNotFound(f"device {device_id}") from error
    return derived_queries.derived_entry(channel_id=made.pk, now=now)


@transaction.atomic
def change(
    *,
    channel_id: int,
    text: str,
    valid_from: datetime | None,
    reason: str,
    actor_id: int | None,
    now: datetime,
) -> VersionEntry:
    """As `derived_operations.change_formula`; raises ChannelNotFound."""
    try:
        made = derived_operations.change_formula(
            channel_id=channel_id,
            text=text,
            valid_from=valid_from,
            reason=reason,
            actor_id=actor_id,
            now=now,
        )
    except Channel.DoesNotExist as error:
        raise ChannelNotFound(f"derived channel {channel_id}") from error
    found = derived_queries.formula_history(channel_id=channel_id, now=now)
    return next(one for one in found.versions if one.version_id == made.pk)
