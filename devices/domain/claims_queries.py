"""What pages read of claim codes. Everything needs an open scope and sees what it holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.db.models import Case, F, QuerySet, TextField, Value, When

from devices.domain.claims_operations import PURPOSE
from devices.domain.sealing import unseal
from devices.models import ClaimCode

OPEN: Final = "open"
USED: Final = "used"
WITHDRAWN: Final = "withdrawn"
EXPIRED: Final = "expired"
# A sheet has 24 labels; more than this many sheets at once would be a mistake.
MAX_LABELS: Final = 500


@dataclass(frozen=True, slots=True)
class Label:
    """What is printed on a device's label; `code` in groups of four."""

    device_id: int
    serial: str
    device_type: str
    hardware_revision: str
    code: str
    expires_at: datetime


def code_rows(*, now: datetime) -> QuerySet[ClaimCode]:
    """The codes, newest first, with `serial`, `device_name`, `facility_name`, `state`.

    `state` is OPEN, USED, WITHDRAWN or EXPIRED; `printable` while the label can be printed.
    """
    return ClaimCode.objects.annotate(
        serial=F("device__serial"),
        device_name=F("device__name"),
        facility_name=F("device__facility__name"),
        zone=F("device__facility__time_zone"),
        state=Case(
            When(used_at__isnull=False, then=Value(USED)),
            When(withdrawn_at__isnull=False, then=Value(WITHDRAWN)),
            When(expires_at__lte=now, then=Value(EXPIRED)),
            default=Value(OPEN),
            output_field=TextField(),
        ),
        printable=Case(
            When(sealed__isnull=False, expires_at__gt=now, then=Value(True)),
            default=Value(False),
        ),
    ).order_by("-created_at", "pk")


def labels(*, device_ids: Sequence[int], now: datetime) -> tuple[Label, ...]:
    """The labels that can be printed for some devices, by serial; one query.

    At most MAX_LABELS. A device without an open code whose text is still sealed is left out.
    """
    rows = (
        ClaimCode.objects.filter(
            device__in=device_ids, sealed__isnull=False, withdrawn_at=None, expires_at__gt=now
        )
        .select_related("device__device_type")
        .order_by("device__serial")[:MAX_LABELS]
    )
    return tuple(
        Label(
            row.device_id,
            row.device.serial,
            row.device.device_type.name,
            row.device.hardware_revision,
            unseal(bytes(row.sealed or b""), purpose=PURPOSE),
            row.expires_at,
        )
        for row in rows
    )
