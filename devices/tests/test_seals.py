"""Seals: a change of any kept reading is found and named, and nothing else is."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, connections
from hypothesis import given
from hypothesis import strategies as st

from devices.domain import seals
from devices.models import Device
from devices.telemetry import seal, seal_store, segment_store
from devices.tests import factories
from tenants.scope import Scope, open_scope

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = date(2026, 3, 1)

stored = pytest.mark.django_db(transaction=True, databases=["default", "ingest", "owner"])

# The inputs and roots by which Certificate Transparency tests its trees (RFC 6962).
INPUTS = (
    "", "00", "10", "2021", "3031", "40414243", "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
)  # fmt: skip
ROOTS = {
    1: "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    8: "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
}


@pytest.mark.parametrize("count", ROOTS)
def test_roots_are_those_of_rfc_6962(count: int) -> None:
    hashes = [hashlib.sha256(b"\0" + bytes.fromhex(text)).digest() for text in INPUTS[:count]]
    assert seal.root(hashes).hex() == ROOTS[count]


@given(st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=40), st.data())
def test_any_change_of_a_leaf_changes_the_root(leaves: list[bytes], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(leaves) - 1))
    other = data.draw(st.binary(min_size=32, max_size=32).filter(lambda new: new != leaves[at]))
    changed = [*leaves[:at], other, *leaves[at + 1 :]]
    assert seal.root(changed) != seal.root(leaves)
    assert seal.root(leaves[:-1]) != seal.root(leaves)


def test_a_seal_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="a seal of 31 bytes"):
        seal.leaves_of(bytes(31))


@pytest.fixture
def nothing_left() -> Iterator[None]:
    yield
    factories.remove_everything()


@pytest.fixture
def device(nothing_left: None) -> Iterator[Device]:
    """A device of a scope that is open."""
    of = factories.tenant()
    with open_scope(Scope((of.pk,))):
        yield factories.device(factories.facility(of)).device


def _keep(device: Device, hour: int, *values: int) -> None:
    """Write the segment of an hour as moving does."""
    starts_at = START + hour * HOUR
    start_ms = segment_store.milliseconds(starts_at)
    before = segment_store.segments_of(connection, [(device.pk, start_ms)])
    made = factories.segment(device, starts_at, {0: list(values)})
    segment_store.keep(connection, [made])
    seals.renew(connection, [made], before)


def _verify(device: Device, last: date = DAY) -> seals.Verified:
    return seals.verify(connection, [device.pk], DAY, last)


def _sealed(device: Device) -> bytes:
    return seal_store.between(connection, device.pk, DAY, DAY).leaves[DAY]


def _problems(device: Device) -> list[tuple[datetime, str]]:
    return [(one.starts_at, one.problem) for one in _verify(device).differences]


def _tamper(query: str, *parameters: Any) -> None:
    # In the transaction of the test: the owner's connection would wait for it.
    with connection.cursor() as cursor:
        cursor.execute(query, list(parameters))


@stored
def test_what_was_kept_is_as_it_was_sealed(device: Device) -> None:
    for hour in (0, 1, 11, 12):
        _keep(device, hour, 1, 2, hour)
    found = _verify(device)
    assert (found.days, found.segments, found.differences) == (1, 3, ())
    both = _verify(device, last=DAY + timedelta(days=1))
    assert (both.days, both.segments, both.differences) == (2, 4, ())
    assert both.root != found.root
    assert _verify(device).root == found.root


@stored
def test_late_readings_renew_the_seal(device: Device) -> None:
    _keep(device, 0, 1, 2)
    before = _verify(device).root
    _keep(device, 0, 1, 2, 3)
    after = _verify(device)
    assert after.differences == ()
    assert after.root != before


@stored
def test_a_changed_segment_is_named(device: Device) -> None:
    _keep(device, 0, 1, 2)
    _keep(device, 1, 3, 4)
    _tamper(
        "UPDATE telemetry_segment SET body = set_byte(body, 20, 255 - get_byte(body, 20))"
        " WHERE device_id = %s AND starts_at = %s",
        device.pk,
        START + HOUR,
    )
    changed = [(START + HOUR, "its bytes are not those that were sealed")]
    assert _problems(device) == changed
    # Readings that come later do not hide it.
    _keep(device, 1, 5)
    assert _problems(device) == changed
    _keep(device, 0, 1, 2, 3)
    assert _problems(device) == changed


@stored
def test_equal_segments_of_two_hours_cannot_be_exchanged(device: Device) -> None:
    _keep(device, 0, 1, 2)
    _keep(device, 1, 1, 2)
    leaves = seal.leaves_of(_sealed(device))
    assert seal.NOTHING != leaves[12] != leaves[13]


@stored
def test_a_segment_that_is_gone_or_was_never_sealed_is_named(device: Device) -> None:
    _keep(device, 0, 1, 2)
    _keep(device, 1, 3, 4)
    added = factories.segment(device, START + 2 * HOUR, {0: [9]})
    segment_store.keep(connection, [added])
    # The app may not delete a segment: an hour without one is sealed as if there had been.
    sealed = seal.with_leaf(_sealed(device), 20, bytes([7] * 32))
    seal_store.keep(connection, [seal_store.Seal(device.pk, DAY, device.tenant_id, sealed)])
    problems = dict(_problems(device))
    assert problems[START + 2 * HOUR] == "it is there and was never sealed"
    assert problems[START + 8 * HOUR] == "it was sealed and is gone"


@stored
def test_verifying_beside_a_mover_finds_nothing(nothing_left: None) -> None:
    """A segment and its seal are looked at as they were at one moment."""
    of = factories.tenant()
    with open_scope(Scope((of.pk,))):
        made = factories.device(factories.facility(of)).device
    stopped = threading.Event()

    def move() -> None:
        count = 0
        try:
            while not stopped.is_set():
                count += 1
                with open_scope(Scope((of.pk,))):
                    _keep(made, 0, 1, 2, count)
        finally:
            connection.close()

    thread = threading.Thread(target=move)
    thread.start()
    try:
        found = [
            one
            for _ in range(100)
            for one in seals.verify(connections["owner"], [made.pk], DAY, DAY).differences
        ]
    finally:
        stopped.set()
        thread.join(30)
    assert found == []


@stored
def test_the_command_proves_and_names(nothing_left: None) -> None:
    park = factories.park()
    serial = park.branches[0].device.serial
    days = ["--from", "2026-03-01", "--to", "2026-03-01"]
    out = StringIO()
    call_command("verify", *days, "--device", serial, "--json", stdout=out)
    told = json.loads(out.getvalue())
    assert (told["ok"], told["segments"], told["days"]) == (True, 1, 1)
    call_command("verify", *days, "--device", serial, "--expect", told["root"], stdout=StringIO())
    with pytest.raises(CommandError, match=r"the root is \w+, not 00: seals were renewed"):
        call_command("verify", *days, "--device", serial, "--expect", "00", stdout=StringIO())
    with connections["owner"].cursor() as cursor:
        cursor.execute(
            "UPDATE telemetry_segment SET body = body || '\\x00' WHERE device_id = %s",
            [park.branches[0].device.pk],
        )
    with pytest.raises(CommandError, match=rf"{serial} 2026-03-01T11:00Z: its bytes are not"):
        call_command("verify", *days, "--tenant", park.tenant.slug, stdout=StringIO())


@stored
def test_the_command_says_what_is_wrong_with_its_arguments(nothing_left: None) -> None:
    for arguments, message in (
        (["--from", "2026-03-02", "--to", "2026-03-01"], "ends before it begins"),
        (["--from", "soon", "--to", "2026-03-01"], "write it as 2026-03-31"),
        (["--from", "2026-03-01", "--to", "2026-03-01", "--device", "X"], "no device X"),
        (["--from", "2026-03-01", "--to", "2026-03-01", "--tenant", "x"], "no device in"),
    ):
        with pytest.raises(CommandError, match=message):
            call_command("verify", *arguments)
