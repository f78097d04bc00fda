"""Downloads of payloads over HTTP: links that are good for one device, one update and a short time.

A link carries all that it stands for, signed; nobody signs in. It opens the scope of the device's
tenant and is good only while the update is being downloaded, so that withdrawing an update, or
suspending the device, ends it before its time.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlencode
from uuid import UUID

from django.conf import settings
from django.core.signing import Signer
from django.utils.crypto import constant_time_compare

from devices.models import DeviceState
from firmware.domain import reports
from firmware.domain.reports import Report
from firmware.models import RolloutTarget, TargetState
from firmware.rollout.reporting import PROGRESS
from tenants.scope import Scope, open_scope

# Below it the portal serves payloads; the rest of the path is the SHA-256 in hexadecimal.
PATH: Final = "/firmware/artifacts/"
LIFETIME_S: Final = 3_600

_SALT: Final = "firmware.downloads"
_DOWNLOADING: Final = (TargetState.OFFERED, TargetState.DOWNLOADING)


class DownloadRefused(Exception):  # noqa: N818 - it reads as what happened
    """A link opens nothing; `code` is stable, the message says what to do."""

    code = "link_invalid"


class LinkExpired(DownloadRefused):
    """The link was good once."""

    code = "link_expired"


class DownloadEnded(DownloadRefused):
    """The update is not being downloaded (any more)."""

    code = "download_ended"


@dataclass(frozen=True, slots=True)
class Download:
    """What a link is good for: `size` bytes with the digest `sha256`, at `rate` bytes/s (0: as fast
    as it goes)."""

    tenant_id: int
    device_id: int
    update_uid: UUID
    sha256: str
    size: int
    rate: int


def url_for(
    *, tenant_id: int, device_id: int, update_uid: UUID, sha256: str, now: float | None = None
) -> str:
    """The link by which a device gets the payload of an update, good for `LIFETIME_S` from `now`
    (Unix s) on. `tenant_id` is the device's."""
    expiry = int(time.time() if now is None else now) + LIFETIME_S
    facts = {
        "tenant": str(tenant_id),
        "device": str(device_id),
        "update": update_uid.hex,
        "expires": str(expiry),
    }
    query = urlencode({**facts, "signature": _signature(sha256, facts)})
    return f"{settings.PUBLIC_URL}{PATH}{sha256}?{query}"


def opened(sha256: str, query: Mapping[str, str], *, now: float | None = None) -> Download:
    """What the link with this digest and query stands for; needs no scope.

    Raises DownloadRefused (no link of ours), LinkExpired or DownloadEnded.
    """
    facts = {name: query.get(name, "") for name in ("tenant", "device", "update", "expires")}
    if not constant_time_compare(query.get("signature", ""), _signature(sha256, facts)):
        raise DownloadRefused("This link is not one of ours. Use the link of the newest offer.")
    if int(facts["expires"]) <= (time.time() if now is None else now):
        raise LinkExpired("This link has expired. Use the link of the newest offer.")
    tenant_id, device_id = int(facts["tenant"]), int(facts["device"])
    with open_scope(Scope((tenant_id,))):
        row = (
            RolloutTarget.objects.filter(
                update_uid=UUID(hex=facts["update"]),
                device_id=device_id,
                device__state=DeviceState.ACTIVE,
                payload_sha256=sha256,
                state__in=_DOWNLOADING,
            )
            .values_list("payload_size", "rate")
            .first()
        )
    if row is None:
        raise DownloadEnded("This update is not being downloaded any more. Wait for an offer.")
    size, rate = row
    return Download(tenant_id, device_id, UUID(hex=facts["update"]), sha256, size, rate)


def progressed(download: Download, *, offset: int, now: datetime | None = None) -> None:
    """The server has sent the payload up to `offset`; the roll-out takes it as the device's word.

    What the device says itself comes as well, and later.
    """
    at = now or datetime.now(UTC)
    report = Report(download.device_id, download.update_uid, PROGRESS, at, offset=offset)
    with open_scope(Scope((download.tenant_id,))):
        reports.take([report], now=at)


def _signature(sha256: str, facts: Mapping[str, str]) -> str:
    # No value holds a colon: the text is of one link alone.
    return Signer(salt=_SALT).signature(":".join((sha256, *facts.values())))
