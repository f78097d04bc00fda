"""Operations of the park: what they make, what they refuse, and the audit rows they leave."""

from __future__ import annotations

import hashlib
import itertools
from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction

from devices.domain import operations
from devices.domain.operations import TRANSITIONS, TransitionError
from devices.domain.secrets import SECRET_BYTES, DeviceSecret
from devices.ingest.queue import EVERY_CONNECTION, EVICT, EVICT_CHANNEL, decode_rows
from devices.models import Channel, Device, DeviceState, Facility
from devices.telemetry import status
from devices.tests import factories
from tenants.models import AuditEntry, Tenant
from tenants.permissions import Role
from tenants.scope import Scope, open_scope


@pytest.fixture
def ours(db: None) -> Tenant:
    return factories.tenant()


def _actions() -> list[str]:
    return list(AuditEntry.objects.order_by("at").values_list("action", flat=True))


def test_register_device_makes_channels_cursor_and_link(ours: Tenant) -> None:
    with open_scope(Scope((ours.pk,))):
        at = factories.facility(ours)
        kind = factories.device_type(ours)
        made = factories.device(at, kind)
        device = Device.objects.get(pk=made.device.pk)
        copied = list(
            Channel.objects.filter(device=device).values_list(
                "number", "key", "quantity", "unit", "resolution", "minimum", "maximum", "in_total"
            )
        )
        assert copied == [
            (c.number, c.key, c.quantity, unit, c.resolution, c.minimum, c.maximum, in_total)
            for c, unit, in_total in zip(factories.CHANNELS, ("W", "V"), (True, False), strict=True)
        ]
        cursor = status.cursors(connection, [device.pk])[device.pk]
        assert (cursor.committed, cursor.produced, cursor.last_received_at) == (0, 0, None)
        assert not status.links(connection, [device.pk])[device.pk].connected
        assert _actions()[-1] == "device.register"


def test_secret_is_stored_as_its_hash_alone(ours: Tenant) -> None:
    with open_scope(Scope((ours.pk,))):
        made = factories.device(factories.facility(ours))
        stored = bytes(Device.objects.get(pk=made.device.pk).secret_sha256)
        assert stored == hashlib.sha256(made.secret.value).digest()
        trail = str(list(AuditEntry.objects.values_list("before", "after")))
        assert "secret" not in trail
        assert stored.hex() not in trail
        assert made.secret.text not in trail


def test_secret_reads_back_from_its_written_form() -> None:
    secret = DeviceSecret.draw()
    assert len(secret.value) == SECRET_BYTES
    assert DeviceSecret.parse(secret.text) == secret
    written = " ".join(
        "".join(part) for part in itertools.zip_longest(*[iter(secret.text.lower())] * 4)
    )
    assert DeviceSecret.parse(written) == secret
    assert secret.text not in repr(secret)


@pytest.mark.parametrize("text", ["", "A", "not base32!", "AAAA"])
def test_secret_refuses_what_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="secret"):
        DeviceSecret.parse(text)


def test_rotate_secret_replaces_the_old_one(ours: Tenant) -> None:
    with open_scope(Scope((ours.pk,))):
        made = factories.device(factories.facility(ours))
        rotated = operations.rotate_secret(device_id=made.device.pk, actor_id=None)
        assert rotated.secret != made.secret
        stored = bytes(Device.objects.get(pk=made.device.pk).secret_sha256)
        assert stored == rotated.secret.sha256
        assert rotated.eviction.device_id == made.device.pk


def test_change_of_state_tells_the_bridges(ours: Tenant) -> None:
    with open_scope(Scope((ours.pk,))):
        device = factories.device(factories.facility(ours)).device
        eviction = operations.change_state(
            device_id=device.pk, state=DeviceState.REVOKED, actor_id=None
        )
        assert eviction.channel == EVICT_CHANNEL
        assert decode_rows(eviction.payload, EVICT).tolist() == [(device.pk, EVERY_CONNECTION)]
        assert Device.objects.get(pk=device.pk).state == DeviceState.REVOKED
        entry = AuditEntry.objects.get(action="device.revoked")
        assert ((entry.before or {})["state"], (entry.after or {})["state"]) == (
            "active",
            "revoked",
        )


@pytest.mark.parametrize(("start", "end"), list(itertools.product(DeviceState, DeviceState)))
def test_states_follow_the_table(ours: Tenant, start: DeviceState, end: DeviceState) -> None:
    with open_scope(Scope((ours.pk,))):
        device = factories.device(factories.facility(ours), state=start).device
        if end in TRANSITIONS[start]:
            operations.change_state(device_id=device.pk, state=end, actor_id=None)
            expected = end
        else:
            with pytest.raises(TransitionError, match=f"is {start}: it cannot become {end}"):
                operations.change_state(device_id=device.pk, state=end, actor_id=None)
            expected = start
        assert Device.objects.get(pk=device.pk).state == expected


def test_nobody_leaves_revoked() -> None:
    assert TRANSITIONS[DeviceState.REVOKED] == frozenset()
    assert set(TRANSITIONS) == set(DeviceState)


def test_device_of_another_tenant_does_not_exist(ours: Tenant) -> None:
    other = factories.tenant()
    with open_scope(Scope((other.pk,))):
        device = factories.device(factories.facility(other)).device
    with open_scope(Scope((ours.pk,))):
        for change in (
            lambda: operations.rotate_secret(device_id=device.pk, actor_id=None),
            lambda: operations.change_state(
                device_id=device.pk, state=DeviceState.REVOKED, actor_id=None
            ),
        ):
            with pytest.raises(Device.DoesNotExist):
                change()


def test_facility_of_another_tenant_takes_no_device(ours: Tenant) -> None:
    other = factories.tenant()
    with open_scope(Scope((other.pk,))):
        there = factories.facility(other)
    with open_scope(Scope((ours.pk,))):
        kind = factories.device_type(ours)
        with pytest.raises(ValidationError) as caught:
            operations.register_device(
                tenant_id=ours.pk,
                facility_id=there.pk,
                device_type_id=kind.pk,
                serial="X",
                name="X",
                actor_id=None,
            )
        assert set(caught.value.message_dict) == {"facility"}


def test_serial_taken_by_another_tenant_is_refused(ours: Tenant) -> None:
    other = factories.tenant()
    with open_scope(Scope((other.pk,))):
        taken = factories.device(factories.facility(other)).device.serial
    with open_scope(Scope((ours.pk,))):
        at, kind = factories.facility(ours), factories.device_type(ours)
        with (
            pytest.raises(IntegrityError, match="devices_device_serial_unique"),
            transaction.atomic(),
        ):
            operations.register_device(
                tenant_id=ours.pk,
                facility_id=at.pk,
                device_type_id=kind.pk,
                serial=taken,
                name="Copy",
                actor_id=None,
            )


def test_create_facility_refuses_an_unknown_time_zone(ours: Tenant) -> None:
    with open_scope(Scope((ours.pk,))):
        with pytest.raises(ValidationError) as caught:
            operations.create_facility(
                tenant_id=ours.pk, name="Shop", time_zone="Berlin", actor_id=None
            )
        assert set(caught.value.message_dict) == {"time_zone"}
        assert not Facility.objects.exists()


def test_allocation_ends_and_the_next_begins(ours: Tenant) -> None:
    with open_scope(Scope((ours.pk,))):
        at = factories.facility(ours)
        channel = factories.device(at).device.channels.get(number=0)
        first, second = (
            operations.create_load(tenant_id=ours.pk, facility_id=at.pk, name=name, actor_id=None)
            for name in ("Oven", "Freezer")
        )
        allocation = operations.allocate_channel(
            channel_id=channel.pk, load_id=first.pk, starts_at=factories.START, actor_id=None
        )
        change = factories.START + timedelta(days=30)
        operations.end_allocation(allocation_id=allocation.pk, ends_at=change, actor_id=None)
        operations.allocate_channel(
            channel_id=channel.pk, load_id=second.pk, starts_at=change, actor_id=None
        )
        assert list(channel.allocations.values_list("load__name", "starts_at", "ends_at")) == [
            ("Oven", factories.START, change),
            ("Freezer", change, None),
        ]
        assert _actions()[-3:] == ["allocation.create", "allocation.end", "allocation.create"]


def test_grant_facility_narrows_a_membership(ours: Tenant) -> None:
    with open_scope(Scope((ours.pk,))):
        at = factories.facility(ours)
        member = factories.member(ours, Role.CONSUMER)
        granted = operations.grant_facility(
            membership_id=member.pk, facility_id=at.pk, actor_id=None
        )
        assert (granted.tenant_id, granted.facility_id) == (ours.pk, at.pk)
        again = operations.grant_facility(membership_id=member.pk, facility_id=at.pk, actor_id=None)
        assert again == granted


def test_every_operation_names_its_actor(ours: Tenant) -> None:
    actor = factories.user()
    with open_scope(Scope((ours.pk,))):
        at = operations.create_facility(
            tenant_id=ours.pk, name="Shop", time_zone="UTC", actor_id=actor.pk
        )
        operations.create_load(tenant_id=ours.pk, facility_id=at.pk, name="Oven", actor_id=actor.pk)
        entries = AuditEntry.objects.filter(actor=actor).order_by("at")
        assert [(entry.action, entry.subject_type) for entry in entries] == [
            ("facility.create", "devices.facility"),
            ("load.create", "devices.load"),
        ]
