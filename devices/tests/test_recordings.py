"""CSV files of many loggers as devices with channels of integers."""

import gzip
import os
from collections.abc import Callable, Iterable
from decimal import Decimal
from pathlib import Path

import pytest

from devices.simulator.recording_table import parse_clock, parse_instant
from devices.simulator.recordings import (
    Group,
    NotARecording,
    RecordedDevice,
    read_recording,
)

DATA = Path(os.environ.get("WATTLINE_DATA") or Path(__file__).parents[2] / "../shared/data")
NEEDS_DATA = pytest.mark.skipif(
    not DATA.is_dir(), reason="the recordings are absent: set WATTLINE_DATA to their folder"
)
DAY = 1_704_067_200_000  # 2024-01-01T00:00:00Z


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., list[RecordedDevice]]:
    def write_and_read(header: str, rows: Iterable[str]) -> list[RecordedDevice]:
        path = tmp_path / "recording.csv"
        path.write_text("\n".join((header, *rows)) + "\n", encoding="utf-8")
        return read_recording(path)

    return write_and_read


Read = Callable[..., list[RecordedDevice]]


def only_group(devices: list[RecordedDevice]) -> Group:
    (device,) = devices
    (group,) = device.groups
    return group


def iso(seconds: int) -> str:
    minutes, second = divmod(seconds, 60)
    return f"2024-01-01 {minutes // 60:02}:{minutes % 60:02}:{second:02}"


def test_wide_form_becomes_one_group(read: Read) -> None:
    rows = [f"{iso(2 * i)},{230 + i / 10:.1f},{i}" for i in range(60)]
    group = only_group(read("time,voltage_v,energy_wh", rows))
    assert group.names == ("voltage_v", "energy_wh")
    assert group.numbers == (0, 1)
    assert group.resolutions == (Decimal("0.1"), Decimal(1))
    assert group.times.tolist() == [DAY + 2_000 * i for i in range(60)]
    assert group.values.tolist() == [[2300 + i for i in range(60)], list(range(60))]
    assert group.present is None


def test_missing_value_is_a_missing_sample(read: Read) -> None:
    marks = ["", "NaN", "null", "fault"]
    rows = [f"{iso(i)},{marks[i] if i < 4 else i},5" for i in range(60)]
    group = only_group(read("time,power_w,level", rows))
    assert group.present is not None
    assert group.present.tolist() == [[False] * 4 + [True] * 56, [True] * 60]
    assert group.values[0].tolist() == [0] * 4 + list(range(4, 60))


def test_semicolons_decimal_commas_and_a_byte_order_mark(tmp_path: Path) -> None:
    rows = [f"01.01.2024 00:{i:02};0,{i:02}5000;G;" for i in range(60)]
    path = tmp_path / "portal.csv.gz"
    text = "\ufeffMesszeitpunkt;Verbrauch (kWh);Qualität;\n" + "\r\n".join(rows)
    path.write_bytes(gzip.compress(text.encode()))
    group = only_group(read_recording(path))
    assert group.names == ("Verbrauch (kWh)",)
    assert group.resolutions == (Decimal("0.001"),)
    assert group.values.tolist() == [[10 * i + 5 for i in range(60)]]
    assert group.times.tolist() == [DAY + 60_000 * i for i in range(60)]


def test_channels_of_one_logger_keep_their_own_times(read: Read) -> None:
    rows = []
    for i in range(60):
        rows.append(f"{1_700_000_000 + 6 * i},1,mains,{300 + i}")
        if i % 2:
            rows.append(f"{1_700_000_000 + 6 * i + 1},2,fridge,{i}")
    (device,) = read("unix_s,channel,label,value", rows)
    mains, fridge = device.groups
    assert (mains.names, mains.numbers) == (("1 mains",), (0,))
    assert (fridge.names, fridge.numbers) == (("2 fridge",), (1,))
    assert mains.times.tolist() == [(1_700_000_000 + 6 * i) * 1_000 for i in range(60)]
    assert fridge.values.tolist() == [list(range(1, 60, 2))]
    assert device.step_ms == 6_000


def test_channel_column_is_believed_without_a_shared_time(read: Read) -> None:
    rows = [f"{1_700_000_000_000 + 997 * i},{'ab'[i % 2]},{i}" for i in range(60)]
    (device,) = read("timestamp,sensor,value", rows)
    assert [group.names for group in device.groups] == [("a",), ("b",)]


def test_device_column_makes_devices(read: Read) -> None:
    rows = [f"Plug,{name},{i},{i % 5},{i}" for name in ("A1", "B2") for i in range(60)]
    first, second = read("appliance,device,local_s,power_w,energy_wh", rows)
    assert (first.name, second.name) == ("Plug A1", "Plug B2")
    assert [group.names for group in second.groups] == [("power_w", "energy_wh")]
    assert second.groups[0].times.tolist() == [DAY + 1_000 * i for i in range(60)]


def test_text_column_that_orders_the_rows_is_the_channel(read: Read) -> None:
    rows = [f"{iso(i)},{name},{i}" for i in range(60) for name in ("oven", "lamp", "pump")]
    (device,) = read("time,what,value", rows)
    assert [group.names for group in device.groups] == [("oven",), ("lamp",), ("pump",)]


def test_several_value_columns_are_named_by_channel_and_column(read: Read) -> None:
    rows = [f"{iso(i)},{c},{i},{i * 2}" for i in range(60) for c in ("L1", "L2")]
    (device,) = read("time,phase,volts,amps", rows)
    assert [group.names for group in device.groups] == [
        ("L1 volts", "L1 amps"),
        ("L2 volts", "L2 amps"),
    ]
    assert [group.numbers for group in device.groups] == [(0, 1), (2, 3)]


def test_text_flags_and_row_numbers_are_no_channels(read: Read) -> None:
    rows = [f"{i},{i % 2},0xA381,{13_000 + 10 * i},OFF,{1_700_000_000 + i}" for i in range(60)]
    group = only_group(read("frame,checksum_ok,PID,V,Relay,unix_s", rows))
    assert group.names == ("V",)
    # The sensor counts in steps of ten millivolts.
    assert group.resolutions == (Decimal("1E+1"),)
    assert group.values.tolist() == [[1_300 + i for i in range(60)]]


def test_counter_that_restarts_goes_on(read: Read) -> None:
    rows = [f"{run},{16.781 * i:.3f},{i}" for run in (1, 2) for i in range(40)]
    group = only_group(read("cycle,t_s,battery_v", rows))
    assert group.names == ("battery_v",)
    steps = {b - a for a, b in zip(group.times[:-1], group.times[1:], strict=True)}
    assert steps <= {16_780, 16_781, 16_782}
    assert len(group.times) == 80


def test_end_of_daylight_saving_goes_on(read: Read) -> None:
    clock = [f"02:{m:02}" for m in range(60)] * 2
    group = only_group(read("time,kwh", [f"2024-10-27 {c},1.5" for c in clock]))
    assert group.times[-1] - group.times[0] == 119 * 60_000


def test_rows_without_order_are_sorted(read: Read) -> None:
    order = [(i * 37) % 60 for i in range(60)]
    group = only_group(read("time,power_w", [f"{iso(i)},{i}" for i in order]))
    assert group.values.tolist() == [list(range(60))]


def test_date_beside_a_time_of_day(read: Read) -> None:
    rows = [f"16/12/2006;17:{i:02}:30;{i}.5" for i in range(60)]
    group = only_group(read("Date;Time;active_kw", rows))
    assert group.names == ("active_kw",)
    assert group.times[0] == parse_instant("2006-12-16 17:00:30")
    assert group.times[59] - group.times[0] == 59 * 60_000


def test_date_beside_the_minute_of_the_day(read: Read) -> None:
    rows = [f"20230807,0.{i:03},{5 * i}" for i in range(60)]
    group = only_group(read("date,import_kwh,minute_of_day", rows))
    assert group.names == ("import_kwh",)
    assert set(map(int, group.times[1:] - group.times[:-1])) == {300_000}


def test_time_of_day_alone_crosses_midnight(read: Read) -> None:
    clock = [f"{h:02}:{m:02}:00" for h in (23, 0) for m in range(60)]
    group = only_group(read("time,v", [f"{c},1" for c in clock]))
    assert group.times.tolist() == [DAY + 23 * 3_600_000 + 60_000 * i for i in range(120)]


def test_file_without_a_header(read: Read) -> None:
    group = only_group(read("1700000000,5", [f"{1_700_000_000 + i},{5 + i}" for i in range(1, 60)]))
    assert group.names == ("column_2",)
    assert group.values.tolist() == [[5 + i for i in range(60)]]


def test_torn_row_does_not_spoil_the_recording(read: Read) -> None:
    rows = [f"{iso(i)},{i},7" for i in range(60)]
    rows[30] = iso(30)
    rows[31] += ",8,9"
    group = only_group(read("time,a,b", rows))
    assert group.present is not None
    assert group.present.sum() == 118


def test_digits_finer_than_a_micro_unit_are_rounded(read: Read) -> None:
    rows = [f"{iso(i)},{0.1 * i!r}" for i in range(60)]
    group = only_group(read("time,kw", rows))
    assert group.resolutions == (Decimal("0.1"),) or group.resolutions == (Decimal("0.000001"),)
    scale = float(group.resolutions[0])
    assert [round(v * scale, 6) for v in group.values[0].tolist()] == [
        round(0.1 * i, 6) for i in range(60)
    ]


@pytest.mark.parametrize(
    ("header", "rows", "reason"),
    [
        ("time,v", ["2024-01-01 00:00:00,1"] * 59, "59 rows, fewer than 60"),
        ("price,v", ["1,2"] * 60, "no time column"),
        ("time,name", [f"{iso(i)},abc" for i in range(60)], "no numeric column beside the time"),
        ("just one column", ["1"] * 60, "no delimited columns"),
        ("", ["1,2"] * 60, "no delimited columns"),
    ],
)
def test_file_that_is_no_recording_says_why(
    read: Read, header: str, rows: list[str], reason: str
) -> None:
    with pytest.raises(NotARecording, match=reason):
        read(header, rows)


def test_broken_archive_is_no_recording(tmp_path: Path) -> None:
    path = tmp_path / "broken.csv.gz"
    path.write_bytes(gzip.compress(b"time,v\n" * 100)[:-9])
    with pytest.raises(NotARecording, match="unreadable"):
        read_recording(path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2024-01-01", DAY),
        ("2024-01-01T00:00:00Z", DAY),
        ("2024/01/01 00:00", DAY),
        ("2024-01-01 01:00:00+01:00", DAY),
        ("2024-01-01 00:00:01.250", DAY + 1_250),
        ("2024-01-01 00:00:01,250", DAY + 1_250),
        ("01.01.2024 00:15", DAY + 900_000),
        ("1/1/2024 1:05:09 PM", DAY + 47_109_000),
        ("1/1/2024 12:00 AM", DAY),
        ("20240101", DAY),
        ("240101010000W", DAY),
        ("240701020000S", DAY + 182 * 86_400_000),
        ("13.13.2024", None),
        ("230.5", None),
        ("12345", None),
        ("", None),
    ],
)
def test_instants_of_many_forms(text: str, expected: int | None) -> None:
    assert parse_instant(text) == expected


def test_month_first_when_the_days_say_so(read: Read) -> None:
    rows = [f"01/{d:02}/2024 {h:02}:00,{h}" for d in (3, 4, 5) for h in range(24)]
    group = only_group(read("time,v", rows))
    assert group.times[0] == parse_instant("2024-01-03 00:00")
    assert group.times[-1] - group.times[0] == 71 * 3_600_000


def test_times_of_the_day() -> None:
    assert parse_clock("01:02") == 3_720_000
    assert parse_clock("01:02:03.5") == 3_723_500
    assert parse_clock("1.5") is None


@NEEDS_DATA
def test_asynchronous_house_has_a_group_a_channel() -> None:
    (device,) = read_recording(DATA / "house-ukdale-h1-6s/day-2013-02-09-19ch.csv.gz")
    assert len(device.groups) == 19
    boiler = next(group for group in device.groups if group.names == ("2 boiler",))
    # 4 815 rows, 0 … 110 VA: the table of the recording's description.
    assert len(boiler.times) == 4_815
    assert (int(boiler.values.min()), int(boiler.values.max())) == (0, 110)
    assert device.step_ms == 6_000


@NEEDS_DATA
def test_plugs_are_devices_of_their_own() -> None:
    devices = read_recording(DATA / "plugs-tracebase-1s/plugs-2012-01-17.csv.gz")
    assert len(devices) == 29
    assert devices[0].name == "Amplifier AF6490"
    assert len(devices[0].groups[0].times) == 59_325
