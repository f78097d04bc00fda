"""Updates on the device's side: what it checks, and that it survives whatever goes wrong."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devices.protocol import Chunk, ChunkStatus, OfferFlag, Withdraw
from devices.simulator.bootloader import Bootloader
from devices.simulator.flash import SECTOR, Flash, PowerLostError, Region
from devices.simulator.image import Behaviour, ImageError, build_image, core_of, read_image
from devices.simulator.records import RecordLog
from devices.tests.update_rig import (
    FOREIGN_KEY,
    KEY,
    LAYOUT,
    TYPE,
    Device,
    Server,
    exchange,
    image_of,
    manifest_of,
    offer_of,
    public,
    update,
    withdraw,
)

OLD, NEW = image_of("1.0.0"), image_of("1.1.0")
SIGNED = {hashlib.sha256(image).digest() for image in (OLD, NEW)}


def sha(image: bytes) -> bytes:
    return hashlib.sha256(image).digest()


# Images


def test_image_says_its_version_and_behaviour() -> None:
    behaviour = Behaviour(version="9.9.9", gaps=0.25, drain=1.5)
    image = build_image("1.2.3-rc.1", device_type=TYPE, behaviour=behaviour, size=9_000)
    assert read_image(image).core == core_of("1.2.3-rc.1") == (1, 2, 3)
    assert read_image(image).behaviour == behaviour
    assert abs(len(image) - 9_000) < 64


def test_image_is_the_same_for_the_same_version_and_alike_for_another() -> None:
    assert build_image("1.0.0", device_type=TYPE, size=10_000) == OLD
    _, patch = offer_of(NEW, base=OLD)
    assert len(patch) < len(NEW) / 2


@pytest.mark.parametrize("at", [40, 5_000, -1])
def test_image_with_a_wrong_byte_is_refused(at: int) -> None:
    damaged = bytearray(OLD)
    damaged[at] ^= 1
    with pytest.raises(ImageError):
        read_image(bytes(damaged))


def test_image_without_a_header_is_somebody_elses_program() -> None:
    assert read_image(b"\x7fELF and so on" * 9).core is None


# Flash


def test_flash_clears_bits_until_it_is_erased() -> None:
    flash = Flash(2 * SECTOR)
    flash.program(10, b"\x0f")
    flash.program(10, b"\xfe")
    assert flash.read(9, 3) == b"\xff\x0e\xff"
    flash.erase(0)
    assert flash.read(10, 1) == b"\xff"


def test_flash_without_power_changes_nothing_more() -> None:
    flash = Flash(SECTOR)
    flash.power_left = 2
    with pytest.raises(PowerLostError):
        flash.program(0, b"\x00\x00\x00\x00")
    kept = flash.read(0, 8)
    assert kept == b"\x00\x00\x0f\xff\xff\xff\xff\xff"
    with pytest.raises(PowerLostError):
        flash.erase(0)
    assert flash.read(0, 8) == kept


def test_flash_in_a_file_outlives_its_process(tmp_path: Path) -> None:
    path = tmp_path / "flash.bin"
    with Flash(SECTOR, path) as flash:
        flash.program(5, b"kept")
    with Flash(SECTOR, path) as flash:
        assert flash.read(4, 6) == b"\xffkept\xff"


@given(
    values=st.lists(st.tuples(st.integers(0, 3), st.binary(max_size=900)), max_size=30),
    cuts=st.lists(st.integers(0, 9_000), max_size=6),
)
def test_records_are_there_completely_or_not_at_all(
    values: list[tuple[int, bytes]], cuts: list[int]
) -> None:
    flash = Flash(2 * SECTOR)
    kept: dict[int, bytes] = {}
    log = RecordLog(flash, Region(0, 2 * SECTOR))
    for kind, value in values:
        flash.power_left = cuts.pop() if cuts else None
        try:
            log.put(kind, value)
            kept[kind] = value
        except PowerLostError:
            flash.restore_power()
            log = RecordLog(flash, Region(0, 2 * SECTOR))
            assert log.get(kind) in (kept.get(kind), value)
            kept = {k: v for k in range(4) if (v := log.get(k)) is not None} | {
                k: v for k, v in kept.items() if k != kind
            }
        assert {k: log.get(k) for k in kept} == kept


# A good update


@pytest.mark.parametrize("base", [None, OLD])
def test_device_updates_by_image_and_by_patch(base: bytes | None) -> None:
    device, server = Device(), Server(*offer_of(NEW, base=base))
    update(device, server)
    assert server.end == ("confirmed", "")
    assert device.ran == [sha(OLD), sha(NEW)]
    assert device.updater.facts.version == "1.1.0"
    assert server.served == len(server.payload)
    told = [kind for kind in server.kinds if kind != "progress"]
    assert told == ["accepted", "downloaded", "installing", "confirmed"]
    assert server.heard[-1][1]["image"] == sha(NEW).hex()


@pytest.mark.parametrize("base", [None, OLD])
def test_worn_out_slot_is_told_as_such_also_of_a_patch(base: bytes | None) -> None:
    device, server = Device(), Server(*offer_of(NEW, base=base))
    device.flash.bad = frozenset({LAYOUT.secondary.start // SECTOR + 1})
    update(device, server)
    assert server.end == ("failed", "flash")
    assert device.ran == [sha(OLD)]


def test_patch_that_makes_another_image_is_told_as_such() -> None:
    honest, payload = offer_of(NEW, base=OLD)
    other = offer_of(image_of("1.2.0"), "1.2.0")[0]
    offer = replace(honest, manifest=other.manifest, signature=other.signature)
    device, server = Device(), Server(offer, payload)
    update(device, server)
    assert server.end == ("failed", "digest")
    assert device.ran == [sha(OLD)]


def test_device_tells_the_end_again_when_it_is_offered_again() -> None:
    device, server = Device(), Server(*offer_of(NEW))
    update(device, server)
    server.heard.clear()
    device.power_up()
    update(device, server)
    assert (server.kinds, server.served) == (["confirmed"], len(NEW))


def test_device_that_runs_the_image_says_so() -> None:
    device = Device(NEW)
    server = Server(*offer_of(NEW))
    update(device, server)
    assert (server.kinds, server.served) == (["confirmed"], 0)


def test_device_that_runs_the_image_needs_no_patch_to_it() -> None:
    device = Device(NEW)
    server = Server(*offer_of(NEW, base=OLD))
    update(device, server)
    assert (server.kinds, server.served) == (["confirmed"], 0)


def test_device_begins_anew_with_another_payload_of_the_same_update() -> None:
    device, patch, whole = Device(), Server(*offer_of(NEW, base=OLD)), Server(*offer_of(NEW))
    assert patch.offer.update_id == whole.offer.update_id
    device.power_up()
    device.updater.take_offer(patch.offer)
    exchange(device, patch)
    update(device, whole)
    assert whole.end == ("confirmed", "")
    assert whole.served == len(NEW)
    assert device.ran == [sha(OLD), sha(NEW)]


def test_device_takes_an_answer_once() -> None:
    """What was asked for twice, since the answer was late, is answered twice."""
    device, server = Device(), Server(*offer_of(NEW))
    device.power_up()
    device.updater.take_offer(server.offer)
    first = device.updater.next_fetch()
    assert first is not None
    device.updater.ask_again()
    assert device.updater.next_fetch() == first
    assert device.updater.take_chunk(server.serve(first)) == 0
    second = device.updater.next_fetch()
    assert second is not None
    assert second.offset == first.offset + first.length
    # The late one is none to what is under way, which is still waited for.
    assert device.updater.take_chunk(server.serve(first)) is None
    assert device.updater.next_fetch() is None
    assert device.updater.take_chunk(server.serve(second)) == 0


def test_device_gives_up_when_the_payload_is_shorter_than_it_thinks() -> None:
    device, server = Device(), Server(*offer_of(NEW))
    device.power_up()
    device.updater.take_offer(server.offer)
    fetch = device.updater.next_fetch()
    assert fetch is not None
    told = Chunk(fetch.update_id, ChunkStatus.RANGE, fetch.offset)
    assert device.updater.take_chunk(told) is None
    assert [(kind, entries.get("code")) for kind, entries in device.told][-1] == (
        "firmware.failed",
        "download",
    )
    assert device.updater.next_fetch() is None


def test_device_goes_on_where_the_link_broke() -> None:
    device, server = Device(), Server(*offer_of(NEW))
    device.power_up()
    for _ in range(8):
        device.updater.connected()
        device.updater.take_offer(server.offer)
        for _ in range(3):  # a sector has 4 096 bytes, three chunks 4 500
            exchange(device, server)
        if device.updater.testing:
            break
    update(device, server)
    assert server.end == ("confirmed", "")
    # What was not a whole sector yet when the link broke was fetched again, and nothing else.
    assert server.served < len(NEW) + 3 * 4_096


def test_device_goes_on_with_the_same_payload_in_another_attempt() -> None:
    device, server = Device(), Server(*offer_of(NEW))
    device.power_up()
    device.updater.take_offer(server.offer)
    for _ in range(3):
        exchange(device, server)
    again = Server(*offer_of(NEW, update_id=bytes(16)))
    update(device, again)
    assert again.end == ("confirmed", "")
    assert again.served == len(NEW) - SECTOR


def test_device_waits_as_long_as_the_server_says() -> None:
    device, server = Device(), Server(*offer_of(NEW))
    device.power_up()
    device.updater.take_offer(server.offer)
    fetch = device.updater.next_fetch()
    assert fetch is not None
    assert device.updater.next_fetch() is None  # one at a time
    busy = Chunk(fetch.update_id, ChunkStatus.NOT_NOW, fetch.offset, retry_after_s=7)
    assert device.updater.take_chunk(busy) == 7
    again = device.updater.next_fetch()
    assert again == fetch
    assert device.updater.take_chunk(Chunk(fetch.update_id, ChunkStatus.GONE, 0)) is None
    assert device.updater.next_fetch() is None  # until it is offered again
    device.updater.take_offer(server.offer)
    assert device.updater.next_fetch() == fetch


def test_device_goes_back_when_told_with_the_flag() -> None:
    device = Device(NEW)
    server = Server(*offer_of(OLD, "1.0.0", flags=OfferFlag.LOWER_VERSION))
    update(device, server)
    assert server.end == ("confirmed", "")
    assert device.image.data == OLD


# What is refused


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"device_type": "S3-CT"}, "type"),
        ({"hardware": ("rev C",)}, "hardware"),
        ({"version": "0.9.0"}, "version"),
        ({"version": "1.0.0-rc.1"}, "version"),
        ({"image_size": LAYOUT.image_bytes + 1}, "space"),
        ({"image_sha256": bytes(32)}, "digest"),
    ],
)
def test_device_refuses_what_is_not_for_it(changes: dict[str, object], code: str) -> None:
    manifest = manifest_of(NEW, "1.1.0", **changes)
    device, server = Device(), Server(*offer_of(NEW, manifest=manifest))
    update(device, server)
    assert server.end == ("rejected", code)
    assert (server.served, device.ran) == (0, [sha(OLD)])


def test_device_refuses_a_patch_for_another_image() -> None:
    device, server = Device(), Server(*offer_of(NEW, base=image_of("0.5.0")))
    update(device, server)
    assert server.end == ("rejected", "base")


def test_device_refuses_keys_and_manifests_that_it_does_not_know() -> None:
    for offer, payload in (
        offer_of(NEW, key=FOREIGN_KEY),
        (replace(offer_of(NEW)[0], signature=bytes(64)), NEW),
        (replace(offer_of(NEW)[0], manifest=manifest_of(NEW, "1.1.1").encode()), NEW),
    ):
        device, server = Device(), Server(offer, payload)
        update(device, server)
        assert server.end == ("rejected", "signature")
        assert device.ran == [sha(OLD)]


def test_device_refuses_an_image_of_another_version_than_signed() -> None:
    device, server = Device(), Server(*offer_of(NEW, "1.3.0"))
    update(device, server)
    assert server.end == ("failed", "version")
    assert device.ran == [sha(OLD)]


def test_device_that_has_said_that_it_installs_takes_its_course() -> None:
    device, server = Device(), Server(*offer_of(NEW))
    device.power_up()
    device.updater.take_offer(server.offer)
    while not device.updater.ready:
        exchange(device, server)
    device.updater.install()
    device.told.clear()
    device.updater.take_withdrawal(Withdraw(server.offer.update_id, "too late"))
    assert device.told == []
    device.restart()
    update(device, server)
    assert server.end == ("confirmed", "")


def test_device_is_busy_while_it_installs_and_takes_the_newer_one_before() -> None:
    device, first = Device(), Server(*offer_of(NEW))
    device.power_up()
    device.updater.take_offer(first.offer)
    exchange(device, first)
    newer = image_of("1.2.0")
    second = Server(*offer_of(newer, "1.2.0", update_id=bytes(16)))
    update(device, second)
    ends = [
        (kind, entries["update"])
        for kind, entries in second.heard
        if kind in ("firmware.withdrawn", "firmware.confirmed")
    ]
    assert ends == [
        ("firmware.withdrawn", first.offer.update_id.hex()),
        ("firmware.confirmed", second.offer.update_id.hex()),
    ]
    third = Server(*offer_of(image_of("1.3.0"), "1.3.0", update_id=bytes(15) + b"3"))
    device.updater.take_offer(third.offer)
    while not device.updater.ready:
        exchange(device, third)
    device.told.clear()
    device.updater.take_offer(first.offer)  # ended: told again
    device.updater.take_offer(replace(first.offer, update_id=bytes(15) + b"4"))
    assert [(kind, entries.get("code")) for kind, entries in device.told] == [
        ("firmware.withdrawn", "withdrawn"),
        ("firmware.rejected", "busy"),
    ]


# Power failures


def _work_of(base: bytes | None) -> int:
    device, server = Device(), Server(*offer_of(NEW, base=base))
    begun = device.flash.worked
    update(device, server)
    return device.flash.worked - begun


WORK = {base: _work_of(base) for base in (None, OLD)}


def _cut(base: bytes | None, cuts: list[int]) -> tuple[Device, Server]:
    """Update a device whose power fails after so many bytes, again and again."""
    device, server = Device(), Server(*offer_of(NEW, base=base))
    for cut in cuts:
        try:
            device.power_up()
            device.flash.power_left = cut
            device.updater.connected()
            device.updater.take_offer(server.offer)
            while exchange(device, server):
                pass
        except PowerLostError:
            device.on = False
        server.heard += device.told
        device.told.clear()
        while not device.on:  # the bootloader is cut as well
            try:
                device.flash.power_left = cut
                device.start()
            except PowerLostError:
                cut += 1 + device.flash.size // 3
                device.flash.restore_power()
    device.on = False
    update(device, server, steps=200)
    return device, server


@settings(max_examples=150, deadline=None)
@given(
    base=st.sampled_from([None, OLD]),
    cuts=st.lists(st.integers(0, max(WORK.values())), min_size=1, max_size=4),
)
def test_device_survives_power_failures_at_any_byte(base: bytes | None, cuts: list[int]) -> None:
    device, server = _cut(base, cuts)
    assert set(device.ran) <= SIGNED
    assert not device.bricked
    assert server.end in (("confirmed", ""), ("reverted", "power"))
    # What it said is what it runs.
    assert device.image.data == (NEW if server.end == ("confirmed", "") else OLD)


def test_running_slot_that_wears_out_in_the_swap_needs_a_recovery_loader() -> None:
    """It has none, as documented; what it cannot keep whole it does not start."""
    device, server = Device(), Server(*offer_of(NEW))
    _bring(device, server, "installing")
    device.flash.bad = _wear(LAYOUT.primary)
    with pytest.raises(AssertionError, match="bricked"):
        device.power_up()
    assert device.bricked
    assert set(device.ran) == {sha(OLD)}


# Fault by state

STATES = ("offered", "downloading", "downloaded", "installing", "testing")


def _bring(device: Device, server: Server, state: str) -> None:
    """Lead a device to a state of its update."""
    device.power_up()
    device.updater.connected()
    device.updater.take_offer(server.offer)
    if state == "downloading":
        for _ in range(3):
            exchange(device, server)
    while state in ("downloaded", "installing", "testing") and not device.updater.ready:
        exchange(device, server)
    if state == "installing":
        device.updater.install()
        device.on = False
    elif state == "testing":
        exchange(device, server)
        assert device.updater.testing
    server.heard += device.told
    device.told.clear()


def _power_failure(device: Device, _: Server) -> None:
    device.on = False


def _link_breaks(device: Device, _: Server) -> None:
    if device.on:
        device.updater.connected()


def _withdrawn(device: Device, server: Server) -> None:
    if not device.on:
        device.power_up()
    withdraw(device, server)


def _tampered(_: Device, server: Server) -> None:
    server.corrupt_at, server.corruptions = 9_000, 99


def _one_wrong_chunk(_: Device, server: Server) -> None:
    server.corrupt_at, server.corruptions = 9_000, 1


def _wear(region: Region) -> frozenset[int]:
    return frozenset(
        {region.start // SECTOR + 1 if region.size > SECTOR else region.start // SECTOR}
    )


def _worn_slot(device: Device, _: Server) -> None:
    device.flash.bad = _wear(LAYOUT.secondary)


def _worn_scratch(device: Device, _: Server) -> None:
    device.flash.bad = _wear(LAYOUT.scratch)


def _rotten_slot(device: Device, _: Server) -> None:
    device.flash.program(LAYOUT.secondary.start + 100, bytes(64))


FAULTS = {
    "power failure": _power_failure,
    "link breaks": _link_breaks,
    "withdrawn": _withdrawn,
    "tampered payload": _tampered,
    "one wrong chunk": _one_wrong_chunk,
    "worn slot": _worn_slot,
    "worn scratch": _worn_scratch,
    "rotten slot": _rotten_slot,
}
# fault → the end after it struck in each of STATES
TABLE = {
    "power failure": ("confirmed", "confirmed", "confirmed", "confirmed", "reverted power"),
    "link breaks": ("confirmed",) * 5,
    "withdrawn": ("withdrawn",) * 3 + ("confirmed",) * 2,
    "tampered payload": ("failed digest",) * 2 + ("confirmed",) * 3,
    "one wrong chunk": ("confirmed",) * 5,
    "worn slot": ("failed flash",) * 2 + ("confirmed",) * 3,
    "worn scratch": ("failed flash",) * 4 + ("confirmed",),
    "rotten slot": ("confirmed", "confirmed", "failed signature", "failed signature", "confirmed"),
}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("fault", FAULTS)
def test_every_fault_in_every_state_ends_truly(fault: str, state: str) -> None:
    device, server = Device(), Server(*offer_of(NEW))
    _bring(device, server, state)
    FAULTS[fault](device, server)
    update(device, server)
    end = " ".join(part for part in server.end or () if part)
    assert end == TABLE[fault][STATES.index(state)].replace("withdrawn", "withdrawn withdrawn")
    assert set(device.ran) <= SIGNED
    assert device.image.data == (NEW if end == "confirmed" else OLD)
    # And it can be updated afterwards, once the fault is gone.
    device.flash.bad = frozenset()
    newer = image_of("1.2.0")
    again = Server(*offer_of(newer, "1.2.0", update_id=bytes(16)))
    update(device, again)
    assert (again.end, device.image.data) == (("confirmed", ""), newer)


@pytest.mark.parametrize(
    ("behaviour", "end"),
    [
        (Behaviour(version="1.1.0", self_test=False), ("reverted", "self_test")),
        (Behaviour(version="1.1.0", hangs=True), ("reverted", "power")),
        (Behaviour(version="7.0.0"), ("confirmed", "")),  # a liar: the server compares
    ],
)
@pytest.mark.parametrize("by_patch", [False, True])
def test_device_goes_back_from_a_firmware_that_is_no_good(
    behaviour: Behaviour, end: tuple[str, str], by_patch: bool
) -> None:
    bad = image_of("1.1.0", behaviour)
    device = Device()
    server = Server(*offer_of(bad, base=OLD if by_patch else None))
    update(device, server)
    assert server.end == end
    assert device.image.data == (bad if end[0] == "confirmed" else OLD)
    assert device.ran[:2] == [sha(OLD), sha(bad)]


def test_bootloader_runs_nothing_unsigned_whatever_the_firmware_asks() -> None:
    device = Device()
    device.power_up()
    boot = Bootloader(device.flash, LAYOUT, device.keys)
    boot.flash.write(LAYOUT.secondary.start, NEW)
    manifest = manifest_of(NEW, "1.1.0").encode()
    for signature in (b"", bytes(64), FOREIGN_KEY.sign(manifest)):
        boot.write_credential(LAYOUT.secondary, len(NEW), manifest, signature)
        boot.request(len(NEW))
        device.restart()
    assert set(device.ran) == {sha(OLD)}


def test_bootloader_takes_the_other_slot_when_its_own_is_lost() -> None:
    device, server = Device(), Server(*offer_of(NEW))
    update(device, server)
    device.flash.program(LAYOUT.primary.start + 50, bytes(64))
    device.restart()
    assert device.image.data == OLD  # the factory's image, which the update had kept


def test_device_with_two_keys_takes_both() -> None:
    device = Device(keys=(public(FOREIGN_KEY), public(KEY)))
    update(device, server := Server(*offer_of(NEW)))
    assert server.end == ("confirmed", "")
