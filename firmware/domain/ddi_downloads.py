"""The files that DDI devices fetch."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from firmware.ddi import mapping
from firmware.ddi.answers import File
from firmware.ddi.errors import DdiError, ErrorCode
from firmware.domain import ddi_actions as actions
from firmware.domain.ddi_doors import Controller
from firmware.domain.ddi_files import file_of
from firmware.models import DdiAction, DdiOutcome, Release, TargetState

# Parts of a download that are told to the roll-out.
DOWNLOAD_STEPS: Final = 20
# Bytes a second for what no roll-out grants: its place in the limits has been given to others.
LEFT_RATE: Final = 64 * 1024


def file_for(*, controller: Controller, module: int) -> File:
    """The file of a release that the device is, or was, offered; raises DdiError NOT_FOUND."""
    offered = DdiAction.objects.filter(
        device_id=controller.device_id,
        target__release_id=module,
        retrieved_at__isnull=False,
        outcome__in=("", DdiOutcome.SUCCESS),
    )
    release = (
        Release.objects.select_related("artifact")
        .filter(pk__in=offered.values("target__release_id"))
        .first()
    )
    if release is None:
        raise DdiError(ErrorCode.NOT_FOUND, f"The module {module} is not for {controller.serial}.")
    return file_of(release)


def downloading(*, controller: Controller, module: int, offset: int, now: datetime) -> int:
    """The device asks for the file from `offset` on, or has got so far. Returns the rate that the
    roll-out grants it, in bytes/s (0: as fast as it goes), LEFT_RATE when it grants nothing any
    more.

    Told to the roll-out when it is news: the first time, and with each further twentieth.
    """
    action = (
        DdiAction.objects.select_related("target")
        .filter(device_id=controller.device_id, target__release_id=module, closed_at__isnull=True)
        .order_by("-pk")
        .first()
    )
    if action is None or not actions.is_present(action):
        return LEFT_RATE
    target = action.target
    step = max(1, target.payload_size // DOWNLOAD_STEPS)
    if target.state == TargetState.OFFERED or offset >= target.offset + step:
        actions.tell(action, now, mapping.News("progress"), offset=offset)
    return target.rate
