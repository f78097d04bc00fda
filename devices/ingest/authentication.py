"""Who a device is: credentials from the database, a short cache, and the decision about a HELLO.

The view `devices_credential` is all that the bridge can read of a device. Secrets are 32 random
bytes and stored as SHA-256: no slow password hash is needed against guessing, so a whole fleet can
come back at once. An unknown serial takes the same way, the same time and gets the same answer as
a wrong secret: nobody learns which serials exist.
"""

from __future__ import annotations

import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, LiteralString

from psycopg_pool import AsyncConnectionPool

from devices.protocol.codes import RefuseCode
from devices.protocol.messages import Hello

# A credential may be this old; changes are told by `bridges:evict`, this covers a lost notice.
CACHE_S: Final = 60.0
# A refusal rests on a credential no older than this: who has just activated a device sees it come.
REFUSAL_CACHE_S: Final = 2.0
MAX_CACHED: Final = 50_000
# Sets of limits kept once for all devices of a type.
MAX_LIMIT_SETS: Final = 4_096

# Compared with when there is no such serial; nobody has bytes with this hash.
_NOBODY = bytes(32)

Limits = Mapping[int, tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Credential:
    """One row of `devices_credential`, without the cursor.

    Hashes are 32 bytes; `limits` maps a channel's number to its smallest and largest raw integer.
    """

    device_id: int
    tenant_id: int
    serial: str
    secret_sha256: bytes
    certificate_sha256: bytes | None
    state: str
    device_type: str
    step_ms: int
    samples: int
    limits: Limits


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a device is not let in. `failure`: counts against address and serial."""

    code: RefuseCode
    text: str
    retry_after_s: int
    failure: bool = False


# One answer for every way not to prove who one is.
NOT_PROVEN: Final = Refusal(
    RefuseCode.CREDENTIALS, "serial and secret do not belong together", 3_600, failure=True
)
_STATES: Final = MappingProxyType(
    {
        "planned": Refusal(RefuseCode.NOT_ACTIVE, "the device is not activated yet", 300),
        "suspended": Refusal(RefuseCode.SUSPENDED, "the device is suspended", 3_600),
        "revoked": Refusal(RefuseCode.REVOKED, "the device is revoked", 86_400),
    }
)


def judge(
    credential: Credential | None, hello: Hello, certificate_sha256: bytes | None
) -> Refusal | None:
    """None when the device may come in. `certificate_sha256`: of the client certificate shown.

    Only who proved to be the device learns its state.
    """
    secret_sha256 = hashlib.sha256(hello.secret).digest()
    expected = credential.secret_sha256 if credential is not None else _NOBODY
    if not hmac.compare_digest(secret_sha256, expected) or credential is None:
        return NOT_PROVEN
    wanted = credential.certificate_sha256
    if wanted is not None and not hmac.compare_digest(certificate_sha256 or b"", wanted):
        return Refusal(
            RefuseCode.CERTIFICATE,
            "this device must show the client certificate that is on record",
            3_600,
            failure=True,
        )
    if credential.state != "active":
        return state_refusal(credential.state)
    if hello.device_type != credential.device_type:
        return Refusal(
            RefuseCode.DEVICE_TYPE,
            f"the device is registered as {credential.device_type}",
            3_600,
        )
    return None


def state_refusal(state: str) -> Refusal | None:
    """The refusal of a device in a state; None for an active one."""
    if state == "active":
        return None
    return _STATES.get(
        state, Refusal(RefuseCode.NOT_ACTIVE, f"the device is in state {state}", 3_600)
    )


class CredentialCache:
    """Credentials by serial, the least recently read going first when it is full."""

    def __init__(self, *, capacity: int = MAX_CACHED) -> None:
        self._capacity = capacity
        self._entries: OrderedDict[str, tuple[float, Credential]] = OrderedDict()
        self._serials: dict[int, str] = {}
        self._changed: set[int] | None = None
        self._all_changed = False

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, serial: str, now: float, *, max_age_s: float = CACHE_S) -> Credential | None:
        """The credential, when it is there and not older than `max_age_s`."""
        entry = self._entries.get(serial)
        if entry is None or now - entry[0] > max_age_s:
            return None
        return entry[1]

    def begin_round(self) -> None:
        """From now on, until `end_round`, remember what changes: somebody is being looked up."""
        self._changed = set()
        self._all_changed = False

    def end_round(self) -> None:
        """Nobody is being looked up any more."""
        self._changed = None

    def changed(self, device_id: int) -> bool:
        """Whether the device's record may have changed since the round began: what was read of it
        may be older than the notice, which found no connection to end."""
        return self._all_changed or (self._changed is not None and device_id in self._changed)

    def put(self, credential: Credential, now: float) -> None:
        """Remember what the database said at `now`, unless it may have changed since."""
        if self.changed(credential.device_id):
            return
        self._entries[credential.serial] = (now, credential)
        self._entries.move_to_end(credential.serial)
        self._serials[credential.device_id] = credential.serial
        if len(self._entries) > self._capacity:
            _, (_, oldest) = self._entries.popitem(last=False)
            self._serials.pop(oldest.device_id, None)

    def evict(self, device_id: int) -> None:
        """Forget a device: something about it changed."""
        if self._changed is not None:
            self._changed.add(device_id)
        serial = self._serials.pop(device_id, None)
        if serial is not None:
            self._entries.pop(serial, None)

    def clear(self) -> None:
        """Forget all: notices may have been lost."""
        self._all_changed = self._changed is not None
        self._entries.clear()
        self._serials.clear()


class Registry:
    """What the bridge asks the database, many devices at a time. Raises psycopg.Error."""

    def __init__(self, pool: AsyncConnectionPool[Any]) -> None:
        self._pool = pool
        self._limit_sets: dict[tuple[tuple[int, int, int], ...], Limits] = {}

    async def credentials(self, serials: Sequence[str]) -> dict[str, Credential]:
        """The credentials of the serials that exist."""
        # No text in PostgreSQL holds U+0000: asked for one, it would fail the question of all.
        serials = [serial for serial in serials if "\0" not in serial]
        rows = await self._rows(
            "SELECT device_id, tenant_id, serial, secret_sha256, certificate_sha256, state,"
            " device_type, step_ms, samples, channels"
            " FROM devices_credential WHERE serial = ANY(%s)",
            serials,
        )
        return {row[2]: self._credential(row) for row in rows}

    async def committed(self, device_ids: Sequence[int]) -> dict[int, int]:
        """The last committed sequence number of each device; 0 for one without a cursor."""
        rows = await self._rows(
            "SELECT device_id, committed FROM device_cursor WHERE device_id = ANY(%s)", device_ids
        )
        return {**dict.fromkeys(device_ids, 0), **dict(rows)}

    async def states(self, device_ids: Sequence[int]) -> dict[int, str]:
        """The state of each device; `revoked` for one that is no longer there."""
        rows = await self._rows(
            "SELECT device_id, state FROM devices_credential WHERE device_id = ANY(%s)", device_ids
        )
        return {**dict.fromkeys(device_ids, "revoked"), **dict(rows)}

    async def _rows(self, query: LiteralString, keys: Sequence[Any]) -> list[tuple[Any, ...]]:
        async with self._pool.connection() as connection:
            cursor = await connection.execute(query, (list(keys),))
            rows: list[tuple[Any, ...]] = await cursor.fetchall()
            return rows

    def _credential(self, row: Sequence[Any]) -> Credential:
        certificate = row[4]
        return Credential(
            device_id=row[0],
            tenant_id=row[1],
            serial=row[2],
            secret_sha256=bytes(row[3]),
            certificate_sha256=None if certificate is None else bytes(certificate),
            state=row[5],
            device_type=row[6],
            step_ms=row[7],
            samples=row[8],
            limits=self._limits(row[9] or ()),
        )

    def _limits(self, channels: Iterable[Sequence[int]]) -> Limits:
        key = tuple((int(number), int(low), int(high)) for number, low, high in channels)
        limits = self._limit_sets.get(key)
        if limits is None:
            if len(self._limit_sets) >= MAX_LIMIT_SETS:
                self._limit_sets.clear()
            limits = {number: (low, high) for number, low, high in key}
            self._limit_sets[key] = limits
        return limits
