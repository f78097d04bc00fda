"""Every fault in every state of an update: what the server holds true in the end, what the device
runs, and that it never runs anything but a signed image.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from devices.simulator.flash import SECTOR
from devices.simulator.image import Behaviour
from devices.tests.update_rig import FOREIGN_KEY, LAYOUT, image_of
from firmware.tests.fault_rig import NEW, OLD, STATES, FaultRig

WRONG = "7.0.0"
FOREVER = 10**6
DOCS = Path(__file__).parents[2] / "docs" / "firmware.md"


def _none(_rig: FaultRig) -> None: ...


def _link_breaks(rig: FaultRig) -> None:
    rig.cut_link(30)


def _away(rig: FaultRig) -> None:
    rig.cut_link(7_200)


def _power_fails(rig: FaultRig) -> None:
    rig.cut_power()


def _power_fails_at_work(rig: FaultRig) -> None:
    """At the next start, while the slots are being swapped."""
    rig.work_left = 5 * SECTOR
    rig.cut_power()


def _dies(rig: FaultRig) -> None:
    rig.cut_power(None)


def _goes_deaf(rig: FaultRig) -> None:
    rig.deaf = True


def _message_lost(rig: FaultRig) -> None:
    rig.loses = 1


def _all_twice(rig: FaultRig) -> None:
    rig.twice = True


def _one_wrong_chunk(rig: FaultRig) -> None:
    rig.server.corrupt_at, rig.server.corruptions = rig.position, 1


def _always_wrong_chunk(rig: FaultRig) -> None:
    rig.server.corrupt_at, rig.server.corruptions = rig.position, FOREVER


def _foreign_key(rig: FaultRig) -> None:
    rig.sign_with(FOREIGN_KEY)


def _worn_slot(rig: FaultRig) -> None:
    rig.device.flash.bad = frozenset({LAYOUT.secondary.start // SECTOR + 1})


def _worn_scratch(rig: FaultRig) -> None:
    rig.device.flash.bad = frozenset({LAYOUT.scratch.start // SECTOR})


def _rotten_slot(rig: FaultRig) -> None:
    rig.device.flash.program(LAYOUT.secondary.start + 100, bytes(64))


def _rotten_image(rig: FaultRig) -> None:
    """Of the image that runs; the device restarts."""
    rig.device.flash.program(LAYOUT.primary.start + 100, bytes(64))
    rig.cut_power()


def _self_test(rig: FaultRig) -> None:
    rig.device.behaviour = rig.after = Behaviour(self_test=False)


def _hangs(rig: FaultRig) -> None:
    rig.device.behaviour = rig.after = Behaviour(hangs=True)


def _wrong_version(rig: FaultRig) -> None:
    """It says another version of itself than was signed."""
    rig.device.behaviour = rig.after = Behaviour(version=WRONG)
    rig.cut_link(1)
    rig.device.updater.facts = replace(rig.device.updater.facts, version=WRONG)


def _lies(rig: FaultRig) -> None:
    rig.lies = True


def _aborted(rig: FaultRig) -> None:
    rig.abort()


# Fault → how it strikes, and what comes of it when it strikes in each of STATES. "ok": succeeded;
# else the code with which the target failed (cancelled: in brackets). The device runs the new
# version after "ok" and the old one else, unless another is named. "-": it cannot strike there.
TABLE: dict[str, tuple[Callable[[FaultRig], None], str]] = {
    "none": (_none, "ok ok ok ok ok ok ok ok ok"),
    "link breaks": (_link_breaks, "ok ok ok ok ok ok ok ok ok"),
    "away for two hours": (_away, "ok ok ok ok ok timeout timeout timeout ok"),
    "power fails": (_power_fails, "ok ok ok ok ok ok ok ok ok"),
    "power fails during the swap": (_power_fails_at_work, "- - - - - - ok - -"),
    "never comes back": (
        _dies,
        "(away) (away) (away) (away) (away) timeout timeout/1.1.0 timeout ok",
    ),
    "deaf to the server": (_goes_deaf, "timeout timeout timeout timeout timeout ok ok ok ok"),
    "a message to it is lost": (_message_lost, "- ok ok ok ok - - - -"),
    "every message comes twice": (_all_twice, "ok ok ok ok ok ok ok ok ok"),
    "one chunk is changed": (_one_wrong_chunk, "- - ok ok ok - - - -"),
    "a chunk is always changed": (_always_wrong_chunk, "- - digest digest digest - - - -"),
    "signed by an unknown key": (_foreign_key, "- signature - - - - - - -"),
    "slot is worn out": (_worn_slot, "flash flash flash flash ok ok ok ok ok"),
    "scratch sector is worn out": (
        _worn_scratch,
        "flash flash flash flash flash flash flash ok ok",
    ),
    "bits flip in the other slot": (_rotten_slot, "ok ok ok ok ok signature signature ok ok"),
    "bits flip in the running image": (_rotten_image, "- - - - - ok ok ok ok/1.0.0"),
    "new firmware fails its self-test": (_self_test, "- - - - - - - self_test -"),
    "new firmware hangs": (_hangs, "- - - - - - - power -"),
    "new firmware names another version": (_wrong_version, "- - - - - - - untrue/7.0.0 -"),
    "says it has updated and has not": (_lies, "- - - - - untrue - - -"),
    "roll-out is aborted": (
        _aborted,
        "(aborted) (aborted) (aborted) (aborted) ok ok ok ok ok",
    ),
}
SIGNED = {hashlib.sha256(image_of(version)).digest() for version in (OLD, NEW)}
CELLS = [
    (fault, state, cell)
    for fault, (_strike, cells) in TABLE.items()
    for state, cell in zip(STATES, cells.split(), strict=True)
    if cell != "-"
]


def _wanted(cell: str) -> tuple[str, str]:
    """The end of the target, and the version that runs."""
    code, _, version = cell.partition("/")
    if code == "ok":
        return "succeeded", version or NEW
    if code.startswith("("):
        return f"cancelled {code[1:-1]}", version or OLD
    return f"failed {code}", version or OLD


@pytest.mark.parametrize(("fault", "state", "cell"), CELLS)
def test_every_fault_in_every_state_ends_truly_and_bricks_nothing(
    fault: str, state: str, cell: str
) -> None:
    rig = FaultRig()
    rig.bring(state)
    TABLE[fault][0](rig)
    rig.finish()
    if not rig.device.on:
        rig.start_once_more()  # who never comes back could still start
    assert (rig.end, rig.said) == _wanted(cell)
    assert not rig.device.bricked
    assert set(rig.device.ran) <= SIGNED


def test_the_manual_tells_what_comes_of_each_fault() -> None:
    def shown(cell: str) -> str:
        code, _, version = cell.partition("/")
        return {"ok": "✓", "-": "–"}.get(code, code) + f" ({version})" * bool(version)

    head = f"| fault | {' | '.join(STATES)} |"
    rows = [
        f"| {fault} | {' | '.join(map(shown, cells.split()))} |"
        for fault, (_strike, cells) in TABLE.items()
    ]
    told = [line for line in DOCS.read_text("utf-8").splitlines() if line in {head, *rows}]
    assert told == [head, *rows]
