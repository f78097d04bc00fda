"""The options of `manage.py simulate` that say how devices are updated."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

import pytest
from django.core.management.base import CommandError

from devices.management.simulated_firmware import add_arguments, behaviour, firmware_options
from devices.simulator.faults import NO_UPDATE_FAULTS, UpdateFaults
from devices.simulator.image import Behaviour

KEY = "aa" * 32


def parsed(*arguments: str) -> dict[str, Any]:
    parser = ArgumentParser()
    add_arguments(parser)
    return vars(parser.parse_args(arguments))


def test_devices_without_a_key_cannot_be_updated() -> None:
    assert firmware_options(parsed(), ()) is None


def test_options_say_keys_memory_and_faults() -> None:
    options = firmware_options(
        parsed(
            "--firmware-key", KEY, "--flash", "256", "--update-fault", "bad-flash",
            "--update-fault", "lies", "--power-cut", "5000", "--down", "900",
            "--after-update", "gaps=0.2,drain=1.15,self-test", "--faulty", "0.5",
        ),
        ["bb" * 32],
    )  # fmt: skip
    assert options is not None
    assert options.keys == (b"\xbb" * 32, b"\xaa" * 32)
    assert options.layout.image_bytes == 256 * 1024
    assert options.faults == UpdateFaults(
        bad_flash=True,
        lies=True,
        power_cut_bytes=5_000,
        bytes_per_s=900,
        after=Behaviour(gaps=0.2, drain=1.15, self_test=False),
    )
    serials = [f"M-{number}" for number in range(400)]
    faulty = [serial for serial in serials if options.of(serial).faults is not NO_UPDATE_FAULTS]
    assert 150 < len(faulty) < 250
    assert faulty == [s for s in serials if options.of(s).faults is not NO_UPDATE_FAULTS]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--update-fault", "deaf"], "no device can be updated"),
        (["--firmware-key", "beef"], "64 hexadecimal digits"),
        (["--firmware-key", KEY, "--flash", "3"], "16 … 16384"),
        (["--firmware-key", KEY, "--faulty", "2"], "a share lies in"),
        (["--firmware-key", KEY, "--power-cut", "-1"], "cannot be negative"),
        (["--firmware-key", KEY, "--after-update", "colour=red"], "is none of gaps="),
        (["--firmware-key", KEY, "--after-update", "gaps=many"], "many is no number for gaps"),
        (["--firmware-key", KEY, "--after-update", "gaps=2"], "a share lies in"),
    ],
)
def test_wrong_options_are_refused_with_a_sentence(arguments: list[str], words: str) -> None:
    with pytest.raises(CommandError, match=words):
        firmware_options(parsed(*arguments), ())


def test_behaviour_names_what_it_changes() -> None:
    assert behaviour("resets_s=60, reconnects_s=30,hangs") == Behaviour(
        resets_s=60, reconnects_s=30, hangs=True
    )
