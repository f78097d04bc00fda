"""The wire benchmark on small recordings of known size, and on the real ones."""

import argparse
import os
from pathlib import Path
from typing import Any

import pytest

from devices.benchmarks import wire
from devices.protocol import Block, decode_data

DATA = Path(os.environ.get("WATTLINE_DATA") or Path(__file__).parents[2] / "../shared/data")


def run(*arguments: str) -> dict[str, Any]:
    parser = argparse.ArgumentParser()
    wire.add_arguments(parser)
    return wire.run(parser.parse_args(arguments))


def write(folder: Path, name: str, header: str, rows: list[str]) -> None:
    path = folder / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join((header, *rows)) + "\n")


def test_bytes_of_a_constant_recording_are_counted_exactly(tmp_path: Path) -> None:
    write(tmp_path, "flat.csv", "unix_s,a,b", [f"{1_700_000_000 + i},7,7" for i in range(60)])
    report = run("--data", str(tmp_path))
    # Head and checksum 8, sequence 1, start 6, blocks 1, flags 1, N 1, step 2, channels 1, and two
    # constant columns of 2 bytes: 25. Without a step and with single bytes as columns: 21.
    assert report["recordings"] == {
        "flat": {
            "1": {"payload": 10.5, "wire": 41.5, "messages": 60, "frames_in_file": 60},
            "10": {"payload": 1.25, "wire": 4.35, "messages": 6, "frames_in_file": 6},
            "30": {"payload": 0.4167, "wire": 1.45, "messages": 2, "frames_in_file": 2},
            "60": {"payload": 0.2083, "wire": 0.725, "messages": 1, "frames_in_file": 1},
        }
    }
    assert report["mean"]["60"] == {"payload": 0.2083, "wire": 0.725}


def test_files_are_sorted_into_recordings_intervals_and_the_rest(tmp_path: Path) -> None:
    for name, step in (("live/second.csv", 1), ("live/minute.csv", 60), ("quarter.csv", 900)):
        rows = [f"{1_700_000_000 + step * i},{i % 7}" for i in range(120)]
        write(tmp_path, name, "unix_s,power_w", rows)
    write(
        tmp_path,
        "daily.csv",
        "time,kwh",
        [f"2024-0{m}-{d:02} 12:00,1" for m in (1, 3) for d in range(1, 32)],
    )
    write(tmp_path, "prices.csv", "from,to,price", ["1,2,3"] * 100)
    report = run("--data", str(tmp_path))
    assert list(report["recordings"]) == ["live/minute", "live/second"]
    assert list(report["intervals"]) == ["quarter"]
    assert report["skipped"] == {
        "daily": "a median step of 86400 s is no series of a meter",
        "prices": "no time column",
    }
    assert set(report["mean"]) == {"1", "10", "30", "60"}


def test_asynchronous_channels_travel_in_blocks_of_one_message(tmp_path: Path) -> None:
    rows = []
    for i in range(120):
        rows.append(f"{1_700_000_000 + 6 * i},1,{i % 9}")
        rows.append(f"{1_700_000_000 + 6 * i + 3},2,{i % 5}")
    write(tmp_path, "logger.csv", "unix_s,channel,value", rows)
    report = run("--data", str(tmp_path))["recordings"]["logger"]
    assert report["60"]["messages"] == report["60"]["frames_in_file"] == 1
    assert report["10"]["messages"] == report["10"]["frames_in_file"] == 11


def test_missing_samples_are_not_counted_as_values(tmp_path: Path) -> None:
    rows = [f"{1_700_000_000 + i},{'' if i % 2 else 5},{i}" for i in range(60)]
    write(tmp_path, "gaps.csv", "unix_s,a,b", rows)
    report = run("--data", str(tmp_path))["recordings"]["gaps"]["1"]
    # 30 messages of two values, 30 of one value in channel 1, which takes a mask: 21 and 21 bytes
    # (channel 1 counts to 59: one byte below 64).
    assert report["payload"] == round((30 * 21 + 30 * 21) / 90, 4)


def test_more_channels_than_a_device_has_are_split(tmp_path: Path) -> None:
    names = ",".join(f"c{i}" for i in range(300))
    rows = [f"{1_700_000_000 + i}," + ",".join(["1"] * 300) for i in range(60)]
    write(tmp_path, "plant.csv", f"unix_s,{names}", rows)
    report = run("--data", str(tmp_path))["recordings"]["plant"]["60"]
    assert report["messages"] == report["frames_in_file"] == 2


def test_lossy_codec_would_be_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def off_by_one(body: bytes) -> object:
        data = decode_data(body)
        blocks = tuple(Block(b.times, b.channels, b.values + 1, b.present) for b in data.blocks)
        return type(data)(data.sequence, blocks)

    write(tmp_path, "a.csv", "unix_s,a", [f"{1_700_000_000 + i},{i}" for i in range(60)])
    monkeypatch.setattr(wire, "decode_data", off_by_one)
    with pytest.raises(wire.LossyError):
        run("--data", str(tmp_path))


def test_absent_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="--data or WATTLINE_DATA"):
        run("--data", str(tmp_path / "nowhere"))


@pytest.mark.skipif(
    not DATA.is_dir(), reason="the recordings are absent: set WATTLINE_DATA to their folder"
)
def test_real_recordings_meet_the_goal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "FRAMES_PER_FILE", 20)
    monkeypatch.setattr(wire, "SAMPLES", (60,))
    report = run("--data", str(DATA))
    assert report["mean"]["60"]["payload"] <= 0.6
    assert report["mean"]["60"]["wire"] <= 0.9
