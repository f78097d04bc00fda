"""The benchmark of patches: what it says is so."""

from __future__ import annotations

import shutil
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import pytest

from firmware.artifacts import deltas
from firmware.benchmarks import delta
from firmware.tests.uploads import program

pytestmark = pytest.mark.skipif(
    not deltas.available(), reason="detools is not installed: it needs a compiler"
)


def _run(*arguments: str) -> Any:
    parser = ArgumentParser()
    delta.add_arguments(parser)
    return delta.run(parser.parse_args(arguments))


def test_images_of_ones_own_are_measured(tmp_path: Path) -> None:
    base, target = tmp_path / "base", tmp_path / "target"
    base.write_bytes(program(1))
    target.write_bytes(program(2))
    found = _run("--base", str(base), "--target", str(target))["images"]
    assert (found["base_bytes"], found["image_bytes"]) == (20_000, 20_000)
    assert found["saved_bytes"] == found["image_bytes"] - found["patch_bytes"] > 10_000


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler")
def test_two_builds_differ_little() -> None:
    found = _run()
    assert found["ok"]
    assert found["own code alone"]["saved"] > 0.5
    assert found["with libraries"]["saved"] > found["own code alone"]["saved"]
