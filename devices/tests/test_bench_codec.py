"""The codec benchmark runs and tells the size of each frame it measured."""

import argparse

import pytest

from devices.benchmarks import codec


def test_every_frame_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(codec, "ROUNDS", 1)
    monkeypatch.setattr(codec, "SECONDS_A_ROUND", 0)
    parser = argparse.ArgumentParser()
    codec.add_arguments(parser)
    report = codec.run(parser.parse_args(["--seed", "3"]))
    assert list(report) == ["1", "30", "60", "1800"]
    for samples, figures in report.items():
        assert isinstance(figures, dict)
        assert min(figures.values()) > 0
        # A walk of about ±6 a step is some six bits a value, far below its eight bytes.
        if samples != "1":
            assert figures["bytes"] < 8 * int(samples)
