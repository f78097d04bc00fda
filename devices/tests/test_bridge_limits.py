"""Limits and credentials of the bridge by themselves: bounded tables, decisions, the cache."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from devices.ingest.authentication import (
    CACHE_S,
    NOT_PROVEN,
    Credential,
    CredentialCache,
    judge,
    state_refusal,
)
from devices.ingest.limits import (
    FLAPPING_S,
    MAX_REPLACED_RETRY_S,
    BucketTable,
    ConnectionCounter,
    Flapping,
)
from devices.protocol import Hello, RefuseCode

SECRET = bytes(range(32))


def credential(number: int = 1, **changes: Any) -> Credential:
    values: dict[str, Any] = {
        "device_id": number,
        "tenant_id": 1,
        "serial": f"M-{number}",
        "secret_sha256": hashlib.sha256(SECRET).digest(),
        "certificate_sha256": None,
        "state": "active",
        "device_type": "meter",
        "step_ms": 2_000,
        "samples": 30,
        "limits": {0: (0, 1)},
    }
    return Credential(**(values | changes))


def hello(secret: bytes = SECRET, device_type: str = "meter") -> Hello:
    return Hello("M-1", secret, device_type, "", "", 1, 0, 1, 1)


def test_a_bucket_refills_over_time_up_to_its_burst() -> None:
    table = BucketTable(2, 10.0)
    assert [table.take("a", 0.0) for _ in range(3)] == [True, True, False]
    assert table.wait_s("a", 4.0) == pytest.approx(6.0)
    assert not table.take("a", 9.9)
    assert table.take("a", 10.0)
    assert not table.take("a", 10.0)
    assert table.wait_s("a", 1_000.0) == 0.0
    assert [table.take("a", 1_000.0) for _ in range(3)] == [True, True, False]
    assert table.take("b", 0.0)


def test_a_bucket_table_forgets_who_was_not_seen_for_longest() -> None:
    table = BucketTable(1, 1_000.0, capacity=2)
    for key in ("a", "b"):
        table.take(key, 0.0)
    assert not table.take("a", 1.0)  # asking is no use: only taking counts
    table.take("c", 1.0)
    assert len(table) == 2
    assert table.take("a", 1.0)  # forgotten, so it may again
    assert not table.take("c", 1.0)


def test_flapping_doubles_the_wait_until_there_is_peace() -> None:
    flapping = Flapping()
    waits = [flapping.retry_after_s(7, float(second)) for second in range(12)]
    assert waits[:5] == [1, 2, 4, 8, 16]
    assert waits[-1] == MAX_REPLACED_RETRY_S
    assert flapping.retry_after_s(8, 12.0) == 1
    assert flapping.retry_after_s(7, 11.0 + FLAPPING_S + 1) == 1
    small = Flapping(capacity=1)
    assert [small.retry_after_s(device, 0.0) for device in (1, 2, 1)] == [1, 1, 1]


def test_connections_are_counted_in_all_and_by_address() -> None:
    counter = ConnectionCounter(total=3, per_address=2)
    assert [counter.admit("a") for _ in range(3)] == [True, True, False]
    assert [counter.admit("b") for _ in range(2)] == [True, False]
    counter.leave("a")
    assert counter.admit("b")
    for address in ("a", "b", "b"):
        counter.leave(address)
    assert counter.count == 0


@pytest.mark.parametrize(
    ("changes", "said", "certificate", "code"),
    [
        ({}, hello(), None, None),
        ({}, hello(), b"any", None),
        ({}, hello(bytes(32)), None, RefuseCode.CREDENTIALS),
        ({}, hello(device_type="other"), None, RefuseCode.DEVICE_TYPE),
        ({"state": "planned"}, hello(), None, RefuseCode.NOT_ACTIVE),
        ({"state": "suspended"}, hello(), None, RefuseCode.SUSPENDED),
        ({"state": "revoked"}, hello(), None, RefuseCode.REVOKED),
        ({"state": "invented"}, hello(), None, RefuseCode.NOT_ACTIVE),
        ({"certificate_sha256": b"c" * 32}, hello(), b"c" * 32, None),
        ({"certificate_sha256": b"c" * 32}, hello(), b"d" * 32, RefuseCode.CERTIFICATE),
        ({"certificate_sha256": b"c" * 32}, hello(), None, RefuseCode.CERTIFICATE),
        # Only who has the secret learns anything but that it is wrong.
        ({"state": "revoked"}, hello(bytes(32)), None, RefuseCode.CREDENTIALS),
        ({"certificate_sha256": b"c" * 32}, hello(bytes(32)), None, RefuseCode.CREDENTIALS),
    ],
)
def test_a_device_is_judged_by_secret_certificate_state_and_type(
    changes: dict[str, Any], said: Hello, certificate: bytes | None, code: RefuseCode | None
) -> None:
    refusal = judge(credential(**changes), said, certificate)
    assert (refusal and refusal.code) == code


def test_nobody_is_judged_like_a_wrong_secret() -> None:
    assert judge(None, hello(), None) == judge(credential(), hello(bytes(32)), None) == NOT_PROVEN
    assert state_refusal("active") is None


def test_cached_credentials_age_and_are_evicted_by_device() -> None:
    cache = CredentialCache(capacity=2)
    one, two, three = (credential(number) for number in (1, 2, 3))
    cache.put(one, 0.0)
    assert cache.get("M-1", CACHE_S) == one
    assert cache.get("M-1", CACHE_S + 1) is None
    assert cache.get("M-1", 5.0, max_age_s=4.0) is None
    cache.put(two, 1.0)
    cache.put(three, 2.0)
    assert len(cache) == 2
    assert cache.get("M-1", 2.0) is None
    cache.evict(2)
    cache.evict(99)
    assert cache.get("M-2", 2.0) is None
    assert cache.get("M-3", 2.0) == three
    cache.clear()
    assert len(cache) == 0
