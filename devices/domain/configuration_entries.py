"""Settings as the API changes them: and what became of it. Needs an open scope."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from devices.commands.states import Origin
from devices.domain.commands_policy import Actor
from devices.domain.configuration_operations import configure
from devices.domain.configuration_queries import Settings, settings_of


def configure_entry(
    actor: Actor,
    *,
    device_id: int,
    changes: Mapping[str, Any],
    reason: str,
    origin: Origin,
    now: datetime,
) -> Settings:
    """`configuration_operations.configure` of one device."""
    configure(actor, changes=changes, device_ids=[device_id], reason=reason, origin=origin, now=now)
    return settings_of(device_id=device_id)
