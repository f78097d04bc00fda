"""The gate of the bridge: devices that said HELLO are looked up together and let in or sent away.

When a fleet comes back at once, a question per device would be the bridge's undoing: those that
arrive within a few milliseconds share one query for credentials that are not cached, one for the
cursors and one question to Redis about live leases.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Sequence
from typing import Final, Protocol

import psycopg
from psycopg_pool import PoolTimeout
from redis.asyncio import Redis

from devices.ingest.authentication import (
    REFUSAL_CACHE_S,
    Credential,
    CredentialCache,
    Refusal,
    Registry,
    judge,
)
from devices.ingest.limits import (
    FAILURES_PER_ADDRESS,
    FAILURES_PER_ADDRESS_EVERY_S,
    FAILURES_PER_SERIAL,
    FAILURES_PER_SERIAL_EVERY_S,
    BucketTable,
)
from devices.ingest.outflow import LOST
from devices.ingest.queue import INTEREST_KEY, LIVE_LEASE_S
from devices.protocol.codes import RefuseCode
from devices.protocol.messages import Hello

logger = logging.getLogger(__name__)

GATHER_S: Final = 0.005
MAX_PER_ROUND: Final = 256
# Devices come back after a time drawn from this span (s) when the bridge cannot look them up.
RETRY_S: Final = 10

_CHANGED: Final = Refusal(RefuseCode.AGAIN, "the record of the device has changed", 0)
_BUSY: Final = Refusal(RefuseCode.AGAIN, "the device cannot be looked up now", RETRY_S)


class Applicant(Protocol):
    """A connection whose device said HELLO."""

    address: str
    certificate_sha256: bytes | None

    @property
    def hello(self) -> Hello:
        """What the device said of itself."""

    @property
    def gone(self) -> bool:
        """Whether the connection was closed meanwhile."""

    def accept(self, credential: Credential, committed: int, live_lease_s: int) -> None:
        """The device may come in."""

    def reject(self, refusal: Refusal, credential: Credential | None, *, record: bool) -> None:
        """The device is sent away. `credential`: of the device that it says to be, when there is
        one; `record`: whether this belongs into its history."""


class Gate:
    """Decides about applicants in rounds; `run` is its life."""

    def __init__(self, registry: Registry, cache: CredentialCache, redis: Redis) -> None:
        self._registry = registry
        self._cache = cache
        self._redis = redis
        self._applicants: deque[Applicant] = deque()
        self._wake = asyncio.Event()
        self._by_address = BucketTable(FAILURES_PER_ADDRESS, FAILURES_PER_ADDRESS_EVERY_S)
        self._by_serial = BucketTable(FAILURES_PER_SERIAL, FAILURES_PER_SERIAL_EVERY_S)

    def apply(self, applicant: Applicant) -> None:
        """Decide about it in the next round; an address with too many failures is out at once."""
        wait_s = self._by_address.wait_s(applicant.address, time.monotonic())
        if wait_s:
            refusal = Refusal(
                RefuseCode.RATE, "too many failures from this address", round(wait_s) + 1
            )
            applicant.reject(refusal, None, record=False)
            return
        self._applicants.append(applicant)
        self._wake.set()

    async def run(self) -> None:
        """Hold rounds for ever."""
        while True:
            await self._wake.wait()
            await asyncio.sleep(GATHER_S)
            size = min(MAX_PER_ROUND, len(self._applicants))
            applicants = [self._applicants.popleft() for _ in range(size)]
            if not self._applicants:
                self._wake.clear()
            self._cache.begin_round()
            await self._round([applicant for applicant in applicants if not applicant.gone])
            self._cache.end_round()

    async def _round(self, applicants: Sequence[Applicant]) -> None:
        try:
            accepted = await self._judge(applicants)
            device_ids = [credential.device_id for _, credential in accepted]
            committed = await self._registry.committed(device_ids) if device_ids else {}
            leases = await self._leases(device_ids)
        except (psycopg.Error, PoolTimeout, *LOST) as error:
            logger.warning("gate.failed applicants=%d error=%s", len(applicants), error)
            for applicant in applicants:
                if not applicant.gone:
                    applicant.reject(_BUSY, None, record=False)
            return
        for (applicant, credential), lease_s in zip(accepted, leases, strict=True):
            if applicant.gone:
                continue
            if self._cache.changed(credential.device_id):
                applicant.reject(_CHANGED, credential, record=False)
            else:
                applicant.accept(credential, committed[credential.device_id], lease_s)

    async def _judge(self, applicants: Sequence[Applicant]) -> list[tuple[Applicant, Credential]]:
        """Send away whom it must; those that may come in, with their credentials.

        A cached credential is good for letting in. Before a device is sent away, it is read again.
        """
        accepted, doubtful = [], []
        now = time.monotonic()
        for applicant in applicants:
            credential = self._cache.get(applicant.hello.serial, now)
            if credential is not None and _refusal(applicant, credential) is None:
                accepted.append((applicant, credential))
            else:
                doubtful.append(applicant)
        credentials = await self._read_again({applicant.hello.serial for applicant in doubtful})
        for applicant in doubtful:
            credential = credentials.get(applicant.hello.serial)
            refusal = _refusal(applicant, credential)
            if refusal is not None:
                self._send_away(applicant, refusal, credential, now)
            elif credential is not None:
                accepted.append((applicant, credential))
        return accepted

    async def _read_again(self, serials: set[str]) -> dict[str, Credential]:
        now = time.monotonic()
        found = {}
        unsure = []
        for serial in serials:
            credential = self._cache.get(serial, now, max_age_s=REFUSAL_CACHE_S)
            if credential is None:
                unsure.append(serial)
            else:
                found[serial] = credential
        if unsure:
            for credential in (await self._registry.credentials(unsure)).values():
                self._cache.put(credential, now)
                found[credential.serial] = credential
        return found

    def _send_away(
        self, applicant: Applicant, refusal: Refusal, credential: Credential | None, now: float
    ) -> None:
        record = credential is not None
        if refusal.failure:
            self._by_address.take(applicant.address, now)
            # A device is not locked out by somebody who tries its serial: who has the right
            # secret does not come here. The one who fails is told to wait, and leaves no trace
            # in the device's history beyond the first few.
            wait_s = self._by_serial.wait_s(applicant.hello.serial, now)
            if wait_s:
                refusal = Refusal(
                    RefuseCode.RATE, "too many failures with this serial", round(wait_s) + 1
                )
                record = False
            else:
                self._by_serial.take(applicant.hello.serial, now)
        applicant.reject(refusal, credential, record=record)

    async def _leases(self, device_ids: Sequence[int]) -> list[int]:
        """The seconds that are left of each device's live lease, 0 where nobody watches."""
        if not device_ids:
            return []
        now = time.time()
        scores = await self._redis.zmscore(INTEREST_KEY, [str(item) for item in device_ids])
        return [
            0 if score is None else min(LIVE_LEASE_S, max(0, round(float(score) - now)))
            for score in scores
        ]


def _refusal(applicant: Applicant, credential: Credential | None) -> Refusal | None:
    return judge(credential, applicant.hello, applicant.certificate_sha256)
