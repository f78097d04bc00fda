"""Claim codes: what they look like, whom they serve, and that each serves once."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest
from django.core.exceptions import ValidationError
from django.db import connection, connections
from hypothesis import given
from hypothesis import strategies as st

from devices.domain import claims_operations as claims
from devices.domain import claims_queries, holds
from devices.domain.claims_code import ALPHABET, LENGTH, BadCode, Code
from devices.domain.claims_operations import ClaimRefused, Issued
from devices.domain.derived_operations import Derivation, derive_channel
from devices.models import (
    Channel,
    ClaimCode,
    ConfigurationChange,
    Device,
    DeviceConfiguration,
    DeviceGroup,
    DeviceGroupMember,
    DeviceState,
    DeviceType,
    Facility,
    FormulaVersion,
    Placement,
)
from devices.telemetry import status
from devices.tests import factories
from tenants.models import AuditEntry, Tenant, TenantKind
from tenants.scope import Scope, open_scope
from tenants.tests.factories import operator

NOW = datetime.now(UTC)
MONTH = timedelta(days=30)

codes = st.text(ALPHABET, min_size=LENGTH - 1, max_size=LENGTH - 1)


# --- the code as text ---------------------------------------------


def test_code_reads_back_however_it_is_typed() -> None:
    for _ in range(50):
        code = Code.draw()
        assert Code.parse(code.text) == code
        assert Code.parse(code.text.lower().replace("-", " ")) == code
        assert Code.parse(code.text.replace("1", "l").replace("0", "O")) == code
        assert code.text not in repr(code)


@given(st.integers(0, LENGTH - 1), st.sampled_from(ALPHABET), st.randoms())
def test_code_with_one_wrong_character_is_refused(at: int, wrong: str, random: object) -> None:
    code = Code.draw().characters
    if code[at] != wrong:
        with pytest.raises(BadCode):
            Code.parse(code[:at] + wrong + code[at + 1 :])


@given(st.integers(0, LENGTH - 2))
def test_code_with_two_neighbours_exchanged_is_refused(at: int) -> None:
    code = Code.draw().characters
    exchanged = code[:at] + code[at + 1] + code[at] + code[at + 2 :]
    if exchanged != code:
        with pytest.raises(BadCode):
            Code.parse(exchanged)


@pytest.mark.parametrize("text", ["", "ABCD", "A" * 17, "Ä" * 16, "0" * 10_000])
def test_code_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(BadCode):
        Code.parse(text)


# --- issuing ------------------------------------------------------


@pytest.fixture
def maker(db: None) -> Tenant:
    return operator()


def _planned(of: Tenant) -> Device:
    return factories.device(factories.facility(of), state=DeviceState.PLANNED).device


def _issue(*devices: Device, now: datetime = NOW) -> tuple[Issued, ...]:
    ids = [device.pk for device in devices]
    return claims.issue_codes(device_ids=ids, lifetime=MONTH, now=now, actor_id=None)


def _code(device: Device) -> Code:
    (issued,) = _issue(device)
    assert issued.code is not None
    return issued.code


def test_a_new_code_withdraws_the_former(maker: Tenant) -> None:
    with open_scope(Scope((maker.pk,))):
        device = _planned(maker)
        first, second = _code(device), _code(device)
        assert first != second
        with pytest.raises(ClaimRefused) as refused:
            claims.look_up(code=first.text)
        assert refused.value.reason == "withdrawn"
        assert claims.look_up(code=second.text).serial == device.serial


def test_codes_are_refused_device_by_device(maker: Tenant) -> None:
    with open_scope(Scope((maker.pk,))):
        planned = _planned(maker)
        active = factories.device(planned.facility).device
        issued = {one.device_id: one for one in _issue(planned, active)}
        assert issued[planned.pk].refusal == ""
        assert issued[active.pk].code is None
        assert "active" in issued[active.pk].refusal


def test_code_is_stored_as_its_hash_and_told_to_nobody(maker: Tenant) -> None:
    with open_scope(Scope((maker.pk,))):
        code = _code(_planned(maker))
        row = ClaimCode.objects.get()
        assert bytes(row.code_sha256) == code.sha256
        assert code.text.encode() not in bytes(row.sealed or b"")
        trail = str(list(AuditEntry.objects.values_list("before", "after")))
        assert code.characters not in trail
        assert code.text not in trail


def test_labels_can_be_printed_until_the_seal_is_removed(maker: Tenant) -> None:
    with open_scope(Scope((maker.pk,))):
        device = _planned(maker)
        code = _code(device)
        (label,) = claims_queries.labels(device_ids=[device.pk], now=NOW)
        assert (label.serial, label.code) == (device.serial, code.text)
        assert claims.forget_sealed(now=NOW) == 0
        assert claims.forget_sealed(now=datetime.now(UTC) + claims.SEALED_FOR) == 1
        assert claims_queries.labels(device_ids=[device.pk], now=NOW) == ()
        assert claims.look_up(code=code.text).serial == device.serial


@pytest.mark.parametrize("days", [0, 5000])
def test_a_lifetime_out_of_bounds_is_refused(maker: Tenant, days: int) -> None:
    with open_scope(Scope((maker.pk,))), pytest.raises(ValidationError, match="at least 1"):
        claims.issue_codes(device_ids=[], lifetime=timedelta(days=days), now=NOW, actor_id=None)


# --- claiming -----------------------------------------------------


def _claim(code: Code, facility: Facility) -> claims.Claimed:
    return claims.claim(
        code=code.text,
        facility_id=facility.pk,
        name="Main meter",
        placement=Placement.MAINS,
        actor_id=None,
    )


def _reason(code: Code, facility: Facility) -> str:
    with pytest.raises(ClaimRefused) as refused:
        _claim(code, facility)
    assert refused.value.sentence
    return refused.value.reason


@pytest.fixture
def client(maker: Tenant) -> Tenant:
    return factories.tenant(factories.tenant(maker, TenantKind.RESELLER))


def test_a_client_claims_a_device_of_the_operator(maker: Tenant, client: Tenant) -> None:
    with open_scope(Scope((maker.pk,))):
        stock = _planned(maker)
        secret = bytes(Device.objects.get(pk=stock.pk).secret_sha256)
        channels = list(Channel.objects.filter(device=stock).values("pk", "number", "resolution"))
        code = _code(stock)
    with open_scope(Scope((client.pk,))):
        at = factories.facility(client)
        offer = claims.look_up(code=code.text)
        assert (offer.serial, offer.delivered_by) == (stock.serial, maker.name)
        claimed = _claim(code, at)
        device = Device.objects.get(pk=stock.pk)
        assert claimed.device == device
        assert (device.tenant_id, device.facility_id) == (client.pk, at.pk)
        assert (device.state, device.name, device.placement) == ("active", "Main meter", "mains")
        assert bytes(device.secret_sha256) == secret
        assert device.device_type.tenant_id == client.pk
        kept = Channel.objects.filter(device=stock, tenant=client)
        assert list(kept.values("pk", "number", "resolution")) == channels
        assert status.cursors(connection, [stock.pk])[stock.pk].produced == 0
        assert not status.links(connection, [stock.pk])[stock.pk].connected
        actions = AuditEntry.objects.values_list("action", flat=True)
        assert "device.claim" in actions
        assert claimed.eviction.device_id == stock.pk
    with open_scope(Scope((maker.pk,))):
        assert not Device.objects.filter(pk=stock.pk).exists()
        assert not ClaimCode.objects.exists()
        handed = AuditEntry.objects.get(action="device.hand_over")
        assert handed.after is not None
        assert (handed.subject_id, handed.after["tenant"]) == (stock.pk, client.pk)


def test_a_device_that_is_held_stays(maker: Tenant, client: Tenant) -> None:
    with open_scope(Scope((maker.pk,))):
        stock = _planned(maker)
        code = _code(stock)
        holds.hold(
            tenant_id=maker.pk,
            held=holds.Held(factories.START, None, device_id=stock.pk),
            reason="A court wants to see it",
            now=factories.START,
            actor_id=None,
        )
    with open_scope(Scope((client.pk,))):
        assert _reason(code, factories.facility(client))
    with open_scope(Scope((maker.pk,))):
        assert Device.objects.get(pk=stock.pk).state == "planned"


def test_an_installer_claims_a_device_of_the_own_tenant(client: Tenant) -> None:
    with open_scope(Scope((client.pk,))):
        device = _planned(client)
        kind, code, at = device.device_type_id, _code(device), factories.facility(client)
        _claim(code, at)
        device.refresh_from_db()
        assert (device.facility_id, device.state, device.device_type_id) == (at.pk, "active", kind)


def test_types_are_copied_once(maker: Tenant, client: Tenant) -> None:
    with open_scope(Scope((maker.pk,))):
        at, kind = factories.facility(maker), factories.device_type(maker)
        stock = [factories.device(at, kind, state=DeviceState.PLANNED).device for _ in range(2)]
        found = [_code(device) for device in stock]
    with open_scope(Scope((client.pk,))):
        place = factories.facility(client)
        for code in found:
            _claim(code, place)
        (copy,) = DeviceType.objects.filter(tenant=client)
        assert (copy.code, copy.channels.count()) == (kind.code, len(factories.CHANNELS))
        assert copy.devices.count() == 2


def test_a_type_of_the_same_code_that_measures_otherwise_is_left_alone(
    maker: Tenant, client: Tenant
) -> None:
    with open_scope(Scope((maker.pk,))):
        stock = _planned(maker)
        code, kind = _code(stock), stock.device_type
    with open_scope(Scope((client.pk,))):
        other = factories.device_type(client)
        other.code = kind.code
        other.samples = 7
        other.save(update_fields=["code", "samples"])
        device = _claim(code, factories.facility(client)).device
        assert device.device_type_id != other.pk
        assert device.device_type.code == f"{kind.code}-{kind.pk}"


def test_a_code_is_used_once(maker: Tenant, client: Tenant) -> None:
    with open_scope(Scope((maker.pk,))):
        code = _code(_planned(maker))
    with open_scope(Scope((client.pk,))):
        at = factories.facility(client)
        _claim(code, at)
        assert _reason(code, at) == "used"
        with pytest.raises(ClaimRefused, match="used"):
            claims.look_up(code=code.text)


def test_a_code_ends_with_its_lifetime(maker: Tenant) -> None:
    with open_scope(Scope((maker.pk,))):
        device = _planned(maker)
        (issued,) = _issue(device, now=NOW - timedelta(days=31))
        assert issued.code is not None
        assert _reason(issued.code, device.facility) == "expired"


def test_a_withdrawn_code_opens_nothing(maker: Tenant) -> None:
    with open_scope(Scope((maker.pk,))):
        device = _planned(maker)
        code = _code(device)
        row = ClaimCode.objects.get()
        assert claims.withdraw_code(code_id=row.pk, now=NOW, actor_id=None)
        assert not claims.withdraw_code(code_id=row.pk, now=NOW, actor_id=None)
        assert _reason(code, device.facility) == "withdrawn"


def test_a_device_that_was_activated_cannot_be_claimed(maker: Tenant) -> None:
    with open_scope(Scope((maker.pk,))):
        device = _planned(maker)
        code = _code(device)
        Device.objects.filter(pk=device.pk).update(state=DeviceState.ACTIVE)
        assert _reason(code, device.facility) == "taken"


def test_a_code_says_nothing_to_a_tenant_beside_or_above(maker: Tenant, client: Tenant) -> None:
    """Down the tree alone: neither a sibling nor the operator can take a client's device."""
    with open_scope(Scope((client.pk,))):
        code = _code(_planned(client))
    for stranger in (maker, factories.tenant(maker), factories.tenant()):
        with open_scope(Scope((stranger.pk,))):
            with pytest.raises(ClaimRefused, match="unknown"):
                claims.look_up(code=code.text)
            assert _reason(code, factories.facility(stranger)) == "unknown"


def test_a_device_is_claimed_into_a_facility_of_the_scope_alone(
    maker: Tenant, client: Tenant
) -> None:
    other = factories.tenant(maker)
    with open_scope(Scope((maker.pk,))):
        code = _code(_planned(maker))
    with open_scope(Scope((other.pk,))):
        foreign = factories.facility(other)
    with open_scope(Scope((client.pk,))):
        granted, further = factories.facility(client), factories.facility(client)
        assert _reason(code, foreign) == "facility"
    with open_scope(Scope((client.pk,), (granted.pk,))):
        assert _reason(code, further) == "facility"
        assert _claim(code, granted).device.facility_id == granted.pk


def test_a_claim_without_a_name_is_refused(maker: Tenant) -> None:
    with open_scope(Scope((maker.pk,))):
        device = _planned(maker)
        with pytest.raises(ValidationError) as refused:
            claims.claim(
                code=_code(device).text,
                facility_id=device.facility_id,
                name="",
                placement=Placement.MAINS,
                actor_id=None,
            )
        assert list(refused.value.message_dict) == ["name"]


def test_derived_channels_go_along_unless_they_need_devices_that_stay(
    maker: Tenant, client: Tenant
) -> None:
    with open_scope(Scope((maker.pk,))):
        stock = _planned(maker)
        other = factories.device(stock.facility).device
        name = other.serial.lower().replace("-", "_")
        for key, text in (("twice", "2 * voltage"), ("both", f"voltage + {name}.voltage")):
            derive_channel(
                device_id=stock.pk,
                values=Derivation(key, key, "voltage", text),
                actor_id=None,
                now=NOW,
            )
        Device.objects.filter(pk=other.pk).update(behind=stock, placement="submeter")
        code = _code(stock)
    with open_scope(Scope((client.pk,))):
        _claim(code, factories.facility(client))
        derived = Channel.objects.filter(device=stock, derived=True, tenant=client)
        assert list(derived.values_list("key", flat=True)) == ["both", "twice"]
        versions = FormulaVersion.objects.all()
        assert [(one.channel.key, one.text) for one in versions] == [("twice", "2 * voltage")]


@pytest.mark.django_db(transaction=True, databases=["default", "owner"])
def test_who_claims_a_device_takes_no_wishes_and_groups_along() -> None:
    maker = operator()
    with open_scope(Scope((maker.pk,))):
        device = _planned(maker)
        factories.configured(device)
        code = _code(device)
    client = factories.tenant(maker)
    with open_scope(Scope((client.pk,))):
        _claim(code, factories.facility(client))
        assert Device.objects.get().pk == device.pk
    with open_scope(Scope((maker.pk, client.pk))):
        assert not DeviceConfiguration.objects.exists()
        assert not ConfigurationChange.objects.exists()
        assert not DeviceGroupMember.objects.exists()
        assert DeviceGroup.objects.count() == 1


@pytest.mark.django_db(databases=["default", "owner"])
def test_every_table_that_keeps_to_the_tenant_of_a_device_is_handed_over() -> None:
    """A new one would stop every transfer: teach `devices_hand_over` to take it along, or rule
    that a device with such rows cannot be claimed (`devices_is_fresh`)."""
    with connections["owner"].cursor() as cursor:
        cursor.execute(
            "SELECT conrelid::regclass::text FROM pg_constraint"
            " WHERE contype = 'f' AND confrelid = 'devices_device'::regclass"
            " AND array_length(conkey, 1) = 2 ORDER BY 1"
        )
        found = {row[0] for row in cursor.fetchall()}
    taken_along = {"devices_channel", "devices_claimcode", "device_cursor", "device_link"}
    forgotten = {"rollup_progress", "rollup_redo", "devices_devicepower"}
    # By a trigger (`devices_forget_control`).
    forgotten |= {
        "devices_devicegroupmember",
        "devices_deviceconfiguration",
        "devices_configurationchange",
    }
    # Those are no longer to be claimed, and what is held neither.
    of_devices_that_reported = {"telemetry_latest", "devices_historyimportpart"}
    commanded = {"devices_command"}
    held = {"devices_hold"}
    sold = {"billing_paygunit"}
    let_go = {"devices_device"}  # what lay behind it, or what it lay behind
    known = taken_along | forgotten | of_devices_that_reported | commanded | held | sold | let_go
    assert found == known


@pytest.mark.django_db(transaction=True, databases=["default", "owner"])
def test_of_two_who_claim_at_once_one_succeeds() -> None:
    maker = operator()
    rivals = [factories.tenant(maker) for _ in range(4)]
    with open_scope(Scope((maker.pk,))):
        code = _code(_planned(maker))
    barrier = threading.Barrier(len(rivals))
    told: list[str] = []

    def attempt(rival: Tenant) -> None:
        try:
            with open_scope(Scope((rival.pk,))):
                at = factories.facility(rival)
                barrier.wait(30)
                _claim(code, at)
            told.append(f"claimed by {rival.pk}")
        except ClaimRefused as refused:
            told.append(refused.reason)
        finally:
            connections["default"].close()

    threads = [threading.Thread(target=attempt, args=(rival,)) for rival in rivals]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    (winner,) = [rival for rival in rivals if f"claimed by {rival.pk}" in told]
    # A rival that comes later finds the code in a tenant that is not above its own.
    assert sorted(told) == sorted([f"claimed by {winner.pk}", *["unknown"] * 3])
    with open_scope(Scope((winner.pk,))):
        assert Device.objects.get().tenant_id == winner.pk
