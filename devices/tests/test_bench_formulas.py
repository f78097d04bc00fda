"""The benchmark of formulas computes what NumPy computes by hand."""

import argparse
from pathlib import Path

import pytest

from devices.benchmarks import formulas


def test_every_formula_gives_what_is_written_by_hand(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(formulas, "ROUNDS", 1)
    parser = argparse.ArgumentParser()
    formulas.add_arguments(parser)
    report = formulas.run(parser.parse_args(["--data", str(tmp_path / "absent")]))
    assert report["ok"] is True
    measured = report["formulas"]
    assert isinstance(measured, dict)
    assert len(measured) == 5
    assert all(each["values_per_s"] > 0 for each in measured.values())
    assert "state_of_charge" not in report
