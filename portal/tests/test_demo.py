"""The demo: made once, kept afterwards, and playable."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import io
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from pytest_django.fixtures import Settings

from devices.domain.claims_operations import claim
from devices.domain.queries import scope_for
from devices.domain.secrets import DeviceSecret
from devices.domain.selection import group_counts
from devices.management.commands.simulate import PAST_MS
from devices.models import (
    Allocation,
    Channel,
    Device,
    DeviceGroup,
    DeviceGroupMember,
    DeviceType,
    Facility,
    FacilityAccess,
    Load,
    Placement,
)
from devices.simulator import casting
from devices.simulator.firmware import factory_image
from devices.simulator.layout import Layout
from devices.simulator.park import CHAIN, FACILITIES, GATEWAYS
from devices.simulator.session import Identity
from devices.tests.device_server import DeviceServer, make_certificate, running
from firmware.artifacts import deltas
from firmware.ddi import tokens
from firmware.models import DdiSettings, DdiTarget, Delta, Release
from portal.management.commands.demo import MOVED_SERIAL, RECORDED_HOUSE, RECORDING
from portal.management.demo_firmware import KEY_FILE, RELEASES, TYPES
from portal.management.demo_groups import GROUPS
from portal.management.demo_people import APPROVER, AUDITOR, PEOPLE, UPLOADER
from portal.management.demo_stock import STOCK, WAREHOUSE
from tenants.domain.queries import all_tenant_ids
from tenants.models import CustomRole, Invitation, Membership, Tenant, User
from tenants.permissions import Role
from tenants.scope import Scope, open_scope

pytestmark = pytest.mark.django_db


@pytest.fixture
def home(tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, without recordings."""
    settings.HOME = tmp_path
    quick = "django.contrib.auth.hashers.MD5PasswordHasher"
    settings.PASSWORD_HASHERS = [quick, *settings.PASSWORD_HASHERS]
    monkeypatch.setenv("WATTLINE_DATA", str(tmp_path / "data"))
    return tmp_path


def demo() -> dict[str, Any]:
    out = io.StringIO()
    call_command("demo", stdout=out, stderr=io.StringIO())
    printed: dict[str, Any] = json.loads(out.getvalue())
    return printed


def rows() -> dict[str, list[Any]]:
    """Every row that the demo makes, by table."""
    models = (
        Tenant, CustomRole, Membership, Invitation, Facility, FacilityAccess, DeviceType, Device,
        Channel, Load, Allocation, Release, Delta, DeviceGroup, DeviceGroupMember, DdiSettings,
        DdiTarget,
    )  # fmt: skip
    found: dict[str, list[Any]]
    with open_scope(Scope(all_tenant_ids())):
        found = {model.__name__: list(model.objects.order_by("pk").values()) for model in models}
    found["User"] = [(user.pk, user.email, user.password) for user in User.objects.order_by("pk")]
    return found


def test_demo_twice_is_the_same_as_once(home: Path) -> None:
    first = demo()
    state = (home / "demo.json").read_text()
    made = rows()
    assert demo() == first
    assert rows() == made
    assert (home / "demo.json").read_text() == state
    assert (home / "demo.json").stat().st_mode & 0o777 == 0o600
    assert len(made["Facility"]) == len(FACILITIES) + 1  # the warehouse
    played = sum(len(facility.devices) for facility in FACILITIES)
    assert len(made["Device"]) == played + len(GATEWAYS) + len(STOCK)


def test_demo_has_devices_to_be_claimed(home: Path) -> None:
    waiting = demo()["claim_codes"]
    assert [entry["device"] for entry in waiting] == [serial for serial, *_rest in STOCK]
    user = User.objects.get(email="consumer@auental-energie.example")
    with open_scope(scope_for(user=user)):
        house = Facility.objects.get(name="Ahornweg 3")
        code, serial = waiting[0]["code"], waiting[0]["device"]
        claimed = claim(
            code=code, facility_id=house.pk, placement=Placement.SUBMETER, name="Meter",
            actor_id=user.pk,
        )  # fmt: skip
        assert (claimed.device.serial, claimed.device.facility_id) == (serial, house.pk)
    assert demo()["claim_codes"] == waiting[1:]
    (home / "demo.json").unlink()
    again = demo()["claim_codes"]
    assert [entry["device"] for entry in again] == [entry["device"] for entry in waiting[1:]]
    assert {entry["code"] for entry in again}.isdisjoint(entry["code"] for entry in waiting)


def test_demo_registers_what_the_model_plays(home: Path) -> None:
    demo()
    secrets = json.loads((home / "demo.json").read_text())["devices"]
    with open_scope(Scope(all_tenant_ids())):
        for facility in FACILITIES:
            row = Facility.objects.get(name=facility.name)
            assert (row.kind, row.time_zone) == (facility.kind, facility.spot.time_zone)
            assert row.devices.filter(placement=Placement.MAINS).count() == 1
            for device in facility.devices:
                stored = Device.objects.get(serial=device.serial)
                entry = secrets[device.serial]
                assert stored.facility_id == row.pk
                assert DeviceSecret.parse(entry["secret"]).sha256 == bytes(stored.secret_sha256)
                channels = stored.channels.values_list(
                    "number", "key", "resolution", "minimum", "maximum"
                )
                assert list(channels) == [
                    (channel.number, channel.key, channel.resolution, channel.minimum,
                     channel.maximum)
                    for channel in device.type.channels
                ]  # fmt: skip
                loads = set(
                    Allocation.objects.filter(channel__device=stored, ends_at=None).values_list(
                        "load__name", "load__category"
                    )
                )
                assert loads == ({device.load} if device.load else set())
        moved = Allocation.objects.filter(channel__device__serial=MOVED_SERIAL).exclude(
            ends_at=None
        )
        assert {allocation.load.name for allocation in moved} == {"Delicatessen counter"}


def test_demo_has_somebody_in_every_role() -> None:
    roles = [person.role for person in PEOPLE]
    assert {role for role in roles if isinstance(role, Role)} == set(Role)
    assert AUDITOR in roles


def test_demo_logins_work_and_are_narrow(home: Path) -> None:
    logins = {login["email"]: login for login in demo()["logins"]}
    seen = {}
    for person in PEOPLE:
        user = User.objects.get(email=person.email)
        assert user.check_password(logins[person.email]["password"])
        with open_scope(scope_for(user=user)):
            seen[person.email] = {facility.name for facility in Facility.objects.all()}
    chain, households = (
        {facility.name for facility in FACILITIES if facility.tenant == tenant}
        for tenant in ("fennel-rye", "auental-energie")
    )
    assert seen == {
        "operator@wattline.example": chain | households | {WAREHOUSE},
        "firmware@wattline.example": chain | households | {WAREHOUSE},
        "support@wattline.example": chain | households | {WAREHOUSE},
        "admin@fennel-rye.example": chain,
        "manager@fennel-rye.example": chain,
        "technician@fennel-rye.example": chain,
        "analyst@fennel-rye.example": chain,
        "auditor@fennel-rye.example": chain,
        "manager@auental-energie.example": households,
        "consumer@auental-energie.example": {"Ahornweg 3"},
        "prepaid@auental-energie.example": {"Im Grün 22"},
    }


def test_demo_has_releases_that_two_people_made(home: Path) -> None:
    demo()
    state = json.loads((home / "demo.json").read_text())
    with open_scope(Scope(all_tenant_ids())):
        made = list(Release.objects.select_related("artifact", "signing_key", "created_by"))
        ready = set(Delta.objects.values_list("state", flat=True))
    versions = [version for version, _notes in RELEASES]
    assert {(row.type_code, row.version, row.state) for row in made} == {
        (code, version, "approved") for code in TYPES for version in versions
    }
    assert {(str(row.created_by), str(row.approved_by)) for row in made} == {(UPLOADER, APPROVER)}
    assert {bytes(row.signing_key.public_key).hex() for row in made} == {*state["firmware_keys"]}
    assert ready == ({"ready"} if deltas.available() else {"refused"})
    assert (home / KEY_FILE).stat().st_mode & 0o777 == 0o600
    delivered = {row.type_code: row.artifact.sha256 for row in made if row.version == "1.0.0"}
    for code, digest in delivered.items():
        identity = Identity(serial="D-1", secret=bytes(32), device_type=code)
        image = factory_image(identity, Layout(128 * 1024))
        assert hashlib.sha256(image).hexdigest() == digest


def test_demo_has_groups_of_members_and_by_rule(home: Path) -> None:
    demo()
    with open_scope(Scope(all_tenant_ids())):
        found = {group.name: group for group in DeviceGroup.objects.select_related("tenant")}
        held = group_counts([group.pk for group in found.values()])
    assert {(name, row.tenant.slug) for name, row in found.items()} == {
        (group.name, group.tenant) for group in GROUPS
    }
    assert {name: held[row.pk] for name, row in found.items()} == {
        "Refrigeration": 6,
        "Petrol stations": 12,
        "Sub-meters": 28,
        "Still before 1.1.0": 0,  # no device has told yet what it runs
        "Smart meters": 12,
        "Photovoltaics": 5,
        "Pilot households": 3,
    }


def test_demo_has_gateways_that_may_ask_for_updates(home: Path) -> None:
    demo()
    state = json.loads((home / "demo.json").read_text())
    with open_scope(Scope(all_tenant_ids())):
        for name, gateway in GATEWAYS:
            stored = Device.objects.select_related("facility", "device_type").get(
                serial=gateway.serial
            )
            assert (stored.facility.name, stored.device_type.capabilities) == (name, ["ddi"])
            target = DdiTarget.objects.get(device=stored)
            token = state["ddi_tokens"][gateway.serial]
            assert tokens.digest(token) == bytes(target.token_sha256 or b"")
        assert DdiSettings.objects.get().tenant.slug == CHAIN
    asking = casting.demo(state, "http://portal.example").over_http
    assert [profile.address for profile in asking] == [
        f"http://portal.example/{CHAIN}/controller/v1/{gateway.serial}"
        for _name, gateway in GATEWAYS
    ]
    assert {profile.token for profile in asking} == set(state["ddi_tokens"].values())


def test_demo_gives_new_secrets_when_its_file_is_lost(home: Path) -> None:
    first = demo()
    before, made = json.loads((home / "demo.json").read_text()), rows()
    (home / "demo.json").unlink()
    second = demo()
    after = json.loads((home / "demo.json").read_text())
    assert [login["email"] for login in second["logins"]] == [
        login["email"] for login in first["logins"]
    ]
    changed = {
        serial
        for serial, entry in after["devices"].items()
        if entry["secret"] != before["devices"][serial]["secret"]
    }
    assert changed == set(before["devices"])
    assert after["ddi_tokens"].keys() == before["ddi_tokens"].keys()
    assert set(after["ddi_tokens"].values()).isdisjoint(before["ddi_tokens"].values())
    with open_scope(Scope(all_tenant_ids())):
        for serial, entry in after["devices"].items():
            stored = Device.objects.get(serial=serial)
            assert DeviceSecret.parse(entry["secret"]).sha256 == bytes(stored.secret_sha256)
    for login in second["logins"]:
        assert User.objects.get(email=login["email"]).check_password(login["password"])
    now = rows()
    for table in ("Tenant", "Facility", "Channel", "Load", "Allocation", "Membership"):
        assert now[table] == made[table]


def test_demo_adds_the_recorded_house_where_its_recording_is(home: Path) -> None:
    demo()
    without = len(rows()["Device"])
    recording = home / "data" / RECORDING
    recording.parent.mkdir(parents=True)
    columns = ("mains_1", "mains_2", "refrigerator", "outlets_unknown_1")
    lines = [f"{1_306_814_400 + 3 * row},100.5,99,{row % 5},3" for row in range(100)]
    table = "\n".join([f"unix_s,{','.join(columns)}", *lines])
    recording.write_bytes(gzip.compress(table.encode()))
    demo()
    state = json.loads((home / "demo.json").read_text())
    assert state["recording"]["devices"] == ["AE900-MAINS", "AE900-CIRCUITS"]
    made = rows()
    assert len(made["Device"]) == without + 2
    with open_scope(Scope(all_tenant_ids())):
        house = Facility.objects.get(name=RECORDED_HOUSE)
        mains = Device.objects.get(facility=house, placement=Placement.MAINS)
        assert list(mains.channels.values_list("key", "quantity", "in_total")) == [
            ("mains_1", "active_power", True),
            ("mains_2", "active_power", True),
        ]
        loads = Load.objects.filter(facility=house).values_list("name", "category")
        assert set(loads) == {
            ("Refrigerator", "refrigeration"),
            ("Outlets unknown 1", "general"),
        }
    demo()
    assert rows() == made


@pytest.fixture
def server(home: Path) -> Iterator[DeviceServer]:
    """A server of the protocol in a thread of its own, with the home's CA."""
    make_certificate(home)
    served = DeviceServer(step_ms=100, samples=5)
    loop = asyncio.new_event_loop()
    up, stop = threading.Event(), asyncio.Event()

    async def serve() -> None:
        async with running(served, home):
            up.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),))
    thread.start()
    assert up.wait(20)
    yield served
    loop.call_soon_threadsafe(stop.set)
    thread.join(20)
    loop.close()


def simulate(
    home: Path, server: DeviceServer, *arguments: str, until: Callable[[], bool] | None = None
) -> str:
    """What the command says; with `until` it is asked to stop (SIGTERM) once that is true."""
    out = io.StringIO()
    over = threading.Event()

    def watch(reached: Callable[[], bool]) -> None:
        while not reached() and not over.wait(0.05):
            continue
        if not over.is_set():
            os.kill(os.getpid(), signal.SIGTERM)

    watcher = threading.Thread(target=watch, args=(until,)) if until else None
    if watcher:
        watcher.start()
    try:
        call_command(
            "simulate",
            *arguments,
            *("--port", str(server.port), "--ca", str(home / "server.pem")),
            *("--state", str(home / "simulator"), "--seconds", "60", "--web", "http://localhost:1"),
            stdout=out,
        )
    finally:
        over.set()
        if watcher:
            watcher.join()
    return out.getvalue()


def test_simulate_plays_the_demo_and_stops_when_asked(home: Path, server: DeviceServer) -> None:
    with pytest.raises(CommandError, match=r"run `manage\.py demo` first"):
        simulate(home, server, "--demo")
    demo()
    serials = {device.serial for facility in FACILITIES for device in facility.devices}

    def all_reported() -> bool:
        return all(len(server.frames(serial)) > 1 for serial in serials)

    started_ms = time.time() * 1000
    said = simulate(home, server, "--demo", until=all_reported)
    for serial in serials:  # a page is full from the beginning
        past_ms = started_ms - int(server.frames(serial)[0].blocks[0].times[0])
        assert PAST_MS - 60_000 < past_ms <= PAST_MS
    assert f"{len(serials)} devices" in said
    assert f"{len(serials)} connections" in said
    assert said.endswith(" 0 waiting\n")
    assert set(server.stored) == serials
    assert server.errors == []
    # The last words of the devices are still being read when the command has ended.
    deadline = time.monotonic() + 30
    while len(server.refusals) < len(serials) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [refuse.name for refuse in server.refusals] == ["closing"] * len(serials)
    assert (home / "simulator" / "snapshots.json").exists()


def test_simulate_registers_a_fleet_and_a_recording(home: Path, server: DeviceServer) -> None:
    demo()
    fleet = ("--fleet", "3", "--seed", "5")
    with pytest.raises(CommandError, match="add --tenant"):
        simulate(home, server, *fleet)
    serials = [f"SIM5-{number:05d}" for number in (1, 2, 3)]
    for count in (1, 3):
        simulate(
            home,
            server,
            *fleet,
            *("--tenant", "auental-energie"),
            until=lambda: all(len(server.frames(serial)) > count for serial in serials),  # noqa: B023
        )
    assert sorted(server.stored) == serials
    path = home / "cellar.csv"
    path.write_text(
        "\n".join(["time;pump W", *(f"{1_780_000_000 + 2 * row};{row % 9}" for row in range(80))])
    )
    with pytest.raises(CommandError, match="who shall play"):
        simulate(home, server, "--replay", str(path))
    simulate(home, server, "--replay", str(path), "--speed", "1000000", "--tenant", "fennel-rye")
    frames = server.frames("REC-cellar-01")
    values = [int(value) for data in frames for value in data.blocks[0].values[0]]
    assert values == [row % 9 for row in range(80)]
    with open_scope(Scope(all_tenant_ids())):
        assert Device.objects.filter(serial__startswith="SIM5-").count() == 3
        assert Device.objects.get(serial="REC-cellar-01").facility.name == "Recording cellar"


def test_simulate_says_what_is_wrong(home: Path, server: DeviceServer) -> None:
    demo()
    for arguments, message in (
        (("--fleet", "0"), "a fleet of 0"),
        (("--fleet", "1", "--tenant", "nobody"), "there is no tenant nobody"),
        (("--replay", "absent.csv", "--tenant", "fennel-rye"), "cannot be read"),
        (("--demo", "--drop-rate", "3"), "a rate lies in 0 … 1"),
    ):
        with pytest.raises(CommandError, match=message):
            simulate(home, server, *arguments)
    with pytest.raises(CommandError, match="give --ca"):
        call_command("simulate", "--demo", "--ca", str(home / "no.pem"))
