"""Imports of history give back what the files say, exactly; once, however often they are run."""

from __future__ import annotations

import gzip
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import numpy as np
import pytest
import zstandard
from django.db import IntegrityError, connection, transaction

from devices import tasks
from devices.domain import history_imports, ledger
from devices.domain.history_files import ChangedFileError
from devices.domain.history_plan import Wishes
from devices.domain.imports_check import WrongState
from devices.domain.series import read_series
from devices.domain.totals import read_totals
from devices.files.content import Intervals, Quality, Reads
from devices.files.nem import AEST
from devices.files.reading import read_meter_file
from devices.models import Channel, Device, Facility, HistoryImportPart, HistoryState, KeptFile
from devices.telemetry import status
from devices.telemetry.periods import Resolution
from devices.tests import factories
from devices.tests.history_world import DATA, NOW, checked, imported, place, roll, scope
from tenants.scope import open_scope

FILES = DATA / "meter-file-formats"
YEAR = DATA / "meter-15min-at"
pytestmark = [
    pytest.mark.django_db(databases=["default", "owner"]),
    pytest.mark.skipif(
        not (FILES.is_dir() and YEAR.is_dir()),
        reason="the meter data files are absent: set WATTLINE_DATA to their folder",
    ),
]
HOUR = 3_600_000


def names(folder: str) -> list[str]:
    return sorted(path.name for path in (FILES / folder).glob("*")) if FILES.is_dir() else []


def amounts(device: Device, key: str, start: datetime, end: datetime) -> dict[str, float]:
    """Energy by local day, in Wh or varh, as the history of the channel has it."""
    channel = Channel.objects.get(device=device, key=key)
    result = read_series(channels=[channel.pk], start=start, end=end, resolution=Resolution.DAY)
    periods = result.channels[0].periods
    assert periods is not None
    hours = periods.mean * periods.coverage * (periods.ends - periods.starts) / HOUR
    if channel.quantity == "active_power":
        np.testing.assert_allclose(periods.energy, hours, rtol=1e-12, atol=1e-9)
    zone = ZoneInfo(device.facility.time_zone)
    days = [
        datetime.fromtimestamp(at / 1000, zone).date().isoformat() for at in periods.starts.tolist()
    ]
    return dict(zip(days, hours.tolist(), strict=True))


@pytest.mark.parametrize("name", names("nem12"))
def test_nem12_file_gives_its_totals_back_by_day(name: str) -> None:
    content = (FILES / "nem12" / name).read_bytes()
    file = read_meter_file(content, name=name)
    at = place("Australia/Brisbane")  # UTC+10 the whole year, as the files are
    run = imported(at, content, name=name)
    assert run.state == HistoryState.FINISHED
    assert [one["refused"] for one in run.report["streams"]] == [""] * len(file.streams)
    with open_scope(scope(at)):
        for stream, intervals in file.streams.items():
            assert isinstance(intervals, Intervals)
            device = Device.objects.select_related("facility").get(serial=stream.meter)
            if stream.unit == "V":
                continue
            wanted: dict[str, int] = defaultdict(int)
            for start, raw in zip(intervals.start_ms.tolist(), intervals.raw.tolist(), strict=True):
                wanted[datetime.fromtimestamp(start / 1000, AEST).date().isoformat()] += raw
            sign = -1 if stream.direction == "export" else 1
            found = amounts(
                device,
                stream.suffix.lower(),
                datetime.fromtimestamp(int(intervals.start_ms[0]) / 1000, UTC),
                datetime.fromtimestamp(
                    int(intervals.start_ms[-1] + intervals.length_ms[-1]) / 1000, UTC
                ),
            )
            resolution = float(intervals.resolution)
            in_quanta = {day: round(amount / resolution) for day, amount in found.items()}
            assert in_quanta == {day: sign * raw for day, raw in wanted.items()}
            exact = [abs(found[day] / resolution - in_quanta[day]) for day in found]
            assert max(exact) < 1e-4
        assert ledger.audit(now=NOW) == ()


def mapping_of(column: str, direction: str) -> dict[str, object]:
    return {
        "time": "Messzeitpunkt",
        "stamp": "end",
        "zone": "Europe/Vienna",
        "meter": "AT001",
        "values": [{"column": column, "direction": direction, "quality_column": "Qualität"}],
        "qualities": {"G": "actual"},
    }


MONTHS = {
    "consumption-2024.csv.gz": (
        "670.197 240.152 174.260 92.234 88.854 60.843 70.039 74.950 124.014 159.736 344.840 570.310"
    ),
    "feed-in-2024.csv.gz": (
        "209.110 355.900 909.236 1188.636 1331.220 1651.689 1615.005 1485.264 874.930 541.520"
        " 164.899 100.859"
    ),
}


def test_year_with_both_clock_changes_gives_its_months_back() -> None:
    at = place("Europe/Vienna")
    for name, column, direction in (
        ("consumption-2024.csv.gz", "Verbrauch (kWh)", "import"),
        ("feed-in-2024.csv.gz", "Einspeisung (kWh)", "export"),
    ):
        header = gzip.decompress((YEAR / name).read_bytes()).decode("utf-8-sig").split("\n")[0]
        mapping = mapping_of(column, direction)
        quality = next((one for one in header.strip().split(";") if one.startswith("Qualit")), "")
        mapping["values"] = [{"column": column, "direction": direction, "quality_column": quality}]
        run = imported(at, (YEAR / name).read_bytes(), name=name, mapping=mapping)
        (stream,) = run.report["streams"]
        assert (stream["refused"], stream["beyond"], stream["days_without"]) == ("", 0, [])
    zone = ZoneInfo("Europe/Vienna")
    start, end = datetime(2024, 1, 1, tzinfo=zone), datetime(2025, 1, 1, tzinfo=zone)
    with open_scope(scope(at)):
        device = Device.objects.get(serial="AT001")
        channels = list(Channel.objects.filter(device=device, quantity="active_power"))
        result = read_series(
            channels=[one.pk for one in channels],
            start=start,
            end=end,
            resolution=Resolution.MONTH,
        )
        for found, sign, name in zip(result.channels, (1, -1), MONTHS, strict=True):
            assert found.periods is not None
            wanted = [round(Decimal(month) * 1000) for month in MONTHS[name].split()]
            assert np.round(found.periods.energy * sign, 6).tolist() == wanted
            assert found.periods.coverage.tolist() == [1.0] * 12
        days = (
            read_series(channels=[channels[0].pk], start=start, end=end, resolution=Resolution.DAY)
            .channels[0]
            .periods
        )
        assert days is not None
        lengths = (days.ends - days.starts) // HOUR
        assert sorted(set(lengths.tolist())) == [23, 24, 25]
        assert days.n.tolist() == (lengths * 4).tolist()
        totals = read_totals(
            facility_ids=[at.pk], start=start, end=end, resolution=Resolution.MONTH
        )
        for flow, months in zip((totals.imported, totals.exported), MONTHS.values(), strict=True):
            assert np.round(flow, 6).tolist() == [
                round(Decimal(month) * 1000) for month in months.split()
            ]


def nem12(rows: str, length: int = 30) -> bytes:
    return (
        "100,NEM12,202601010000,A,B\r\n"
        f"200,NMI0000001,E1,E1,E1,N1,S1,kWh,{length},\r\n{rows}900\r\n"
    ).encode()


def day(date: str, values: list[str], quality: str = "A", updated: str = "20260301000000") -> str:
    return f"300,{date},{','.join(values)},{quality},,,{updated},\r\n"


FLAT = ["1.5"] * 48


def readings(at: Facility, key: str = "e1") -> list[tuple[int, float]]:
    with open_scope(scope(at)):
        channel = Channel.objects.get(device__facility=at, key=key)
        curve = (
            read_series(
                channels=[channel.pk],
                start=datetime(2026, 1, 1, tzinfo=UTC),
                end=datetime(2026, 2, 1, tzinfo=UTC),
                resolution=Resolution.RAW,
            )
            .channels[0]
            .curve
        )
        assert curve is not None
        return list(zip(curve.times.tolist(), curve.values.tolist(), strict=True))


def bodies() -> list[tuple[object, ...]]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT device_id, starts_at, body FROM telemetry_segment ORDER BY 1, 2")
        return [(device, starts, bytes(body)) for device, starts, body in cursor.fetchall()]


def test_same_file_once_more_changes_nothing() -> None:
    at = place()
    content = nem12(day("20260110", FLAT) + day("20260111", FLAT))
    first = imported(at, content)
    with open_scope(scope(at)):
        before = bodies()
    assert first.report["devices"] == {"NMI0000001": {"new": 96, "changed": 0, "same": 0}}
    second = imported(at, content, now=NOW + timedelta(hours=1))
    assert second.report["devices"] == {"NMI0000001": {"new": 0, "changed": 0, "same": 96}}
    assert second.file_id == first.file_id
    with open_scope(scope(at)):
        assert bodies() == before
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM history_change WHERE cause = 'import'")
            assert cursor.fetchone() == (1,)


def test_later_file_counts_and_the_earlier_answer_stays_known() -> None:
    at = place("Australia/Brisbane")
    imported(at, nem12(day("20260110", FLAT, "E")))
    later = NOW + timedelta(days=1)
    changed = [*FLAT[:10], "2.5", *FLAT[11:]]
    run = imported(at, nem12(day("20260110", changed)), now=later)
    assert run.report["devices"] == {"NMI0000001": {"new": 0, "changed": 1, "same": 47}}
    with open_scope(scope(at)):
        channel = Channel.objects.get(device__facility=at, key="e1")
        told = [
            read_series(
                channels=[channel.pk],
                start=datetime(2026, 1, 10, tzinfo=AEST),
                end=datetime(2026, 1, 11, tzinfo=AEST),
                resolution=Resolution.DAY,
                as_of=as_of,
            )
            .channels[0]
            .periods
            for as_of in (None, NOW + timedelta(minutes=1))
        ]
    assert [one.energy.tolist() for one in told if one is not None] == [[73_000.0], [72_000.0]]


def test_quality_of_the_source_is_kept_and_renewed() -> None:
    at = place("Australia/Brisbane")
    imported(at, nem12(day("20260110", FLAT, "E") + day("20260111", FLAT)))
    estimated = readings(at, "e1_quality")
    assert {value for _, value in estimated} == {float(Quality.ESTIMATED)}
    assert len(estimated) == 48
    imported(at, nem12(day("20260110", FLAT)), now=NOW + timedelta(days=1))
    assert {value for _, value in readings(at, "e1_quality")} == {float(Quality.ACTUAL)}


def test_missing_interval_is_a_gap_and_not_filled() -> None:
    """A sample holds across one that is missing, in what a device sends; not in a file."""
    at = place("Australia/Brisbane")
    rows = [
        f"2026-01-10 {minute // 60:02}:{minute % 60:02};1,5"
        for minute in range(0, 24 * 60, 15)
        if minute != 600
    ]
    run = imported(
        at,
        ("time;value (kWh)\n" + "\n".join(rows)).encode(),
        mapping={
            "time": "time",
            "zone": "Australia/Brisbane",
            "meter": "M1",
            "interval_minutes": 15,
            "values": [{"column": "value (kWh)", "direction": "import"}],
        },
    )
    assert run.report["streams"][0]["days_without"] == ["2026-01-10"]
    with open_scope(scope(at)):
        channel = Channel.objects.get(device__serial="M1", quantity="active_power")
        periods = (
            read_series(
                channels=[channel.pk],
                start=datetime(2026, 1, 10, tzinfo=AEST),
                end=datetime(2026, 1, 11, tzinfo=AEST),
                resolution=Resolution.DAY,
            )
            .channels[0]
            .periods
        )
    assert periods is not None
    assert periods.energy.tolist() == [95 * 1500.0]
    assert periods.coverage.tolist() == [95 / 96]


@pytest.mark.parametrize("name", names("nem13"))
def test_nem13_file_gives_its_reads_back(name: str) -> None:
    content = (FILES / "nem13" / name).read_bytes()
    file = read_meter_file(content, name=name)
    at = place("Australia/Brisbane")
    run = imported(at, content, name=name)
    assert [one["refused"] for one in run.report["streams"]] == [""] * len(file.streams)
    with open_scope(scope(at)):
        for stream, reads in file.streams.items():
            assert isinstance(reads, Reads)
            key = f"r_{stream.suffix or stream.register}".lower()
            channel = Channel.objects.get(device__serial=stream.meter, key=key)
            scale = reads.resolution
            # Where a register was set anew, its new value comes after the old one.
            shown: dict[int, list[float]] = {}
            for times, raws in (
                (reads.current_ms, reads.current),
                (reads.previous_ms, reads.previous),
            ):
                for time, raw in zip(times.tolist(), raws.tolist(), strict=True):
                    shown.setdefault(time, []).append(float(raw * scale))
            for time, values in shown.items():
                curve = (
                    read_series(
                        channels=[channel.pk],
                        start=datetime.fromtimestamp(time / 1000, UTC),
                        end=datetime.fromtimestamp(time / 1000 + 1, UTC),
                        resolution=Resolution.RAW,
                    )
                    .channels[0]
                    .curve
                )
                assert curve is not None
                assert curve.values.tolist() == list(dict.fromkeys(values))


def test_green_button_feed_gives_its_sum_back() -> None:
    name = "PGEIntervalBlock.xml.gz"
    at = place("America/Los_Angeles")
    run = imported(
        at,
        (FILES / "greenbutton" / name).read_bytes(),
        name=name,
        mapping={"unit": "Wh", "power_of_ten": -3, "direction": "import"},
    )
    (stream,) = run.report["streams"]
    with open_scope(scope(at)):
        device = Device.objects.get(facility=at)
        power = device.channels.get(quantity="active_power")
        months = (
            read_series(
                channels=[power.pk],
                start=datetime(2015, 4, 1, tzinfo=UTC),
                end=datetime(2015, 9, 1, tzinfo=UTC),
                resolution=Resolution.MONTH,
            )
            .channels[0]
            .periods
        )
    assert months is not None
    assert stream["figures"]["total"] == "496406.375"
    assert round(float(np.nansum(months.energy)) * 1000) == 496_406_375


def test_killed_import_goes_on_where_it_was() -> None:
    at = place("Australia/Brisbane")
    content = nem12("".join(day(f"2026{month:02}10", FLAT) for month in range(1, 5)))
    run = checked(at, content)
    with open_scope(scope(at)):
        history_imports.start(run_id=run.pk, now=NOW, actor_id=None)
        prepared = history_imports.open_run(run.pk)
        assert prepared is not None
        first = history_imports.advance(run_id=run.pk, prepared=prepared, now=NOW).part_id
        stopped = NOW + timedelta(minutes=3)
        assert history_imports.stalled(now=stopped) == ((at.tenant_id, run.pk),)
        before = bodies()
    tasks.import_history(tenant_id=at.tenant_id, run_id=run.pk)
    with open_scope(scope(at)):
        run.refresh_from_db()
        assert run.state == HistoryState.FINISHED
        assert history_imports.totals(run) == {"new": 192, "changed": 0, "same": 0}
        assert [row for row in bodies() if row[1] in {one[1] for one in before}] == before
        assert first is not None
        assert HistoryImportPart.objects.get(pk=first).done_at == NOW
        assert history_imports.stalled(now=stopped) == ()
        assert history_imports.open_run(run.pk) is None
    roll(at)
    assert len(readings(at)) == 48


def test_what_is_over_the_limits_or_in_the_future_is_left_out_and_told() -> None:
    at = place("Australia/Brisbane")
    imported(at, nem12(day("20260110", FLAT)))
    huge = ["9999999", *FLAT[1:]]
    run = imported(at, nem12(day("20260111", huge) + day("20260601", FLAT)))
    (stream,) = run.report["streams"]
    # At NOW it is 22:00 in the file's time: four half hours are not over.
    assert (stream["beyond"], stream["future"]) == (1, 4)
    with open_scope(scope(at)):
        assert history_imports.totals(run) == {"new": 91, "changed": 0, "same": 0}


def test_finer_or_shorter_intervals_than_the_meter_keeps_are_refused() -> None:
    at = place("Australia/Brisbane")
    imported(at, nem12(day("20260110", FLAT)))
    for content, sentence in (
        (nem12(day("20260111", ["1.00001"] * 48)), "more decimals than the channel keeps"),
        (nem12(day("20260111", ["1"] * 288), 5), "no multiple of the 30 minutes"),
    ):
        run = checked(at, content)
        (stream,) = run.report["streams"]
        assert sentence in stream["refused"]
        with open_scope(scope(at)), pytest.raises(WrongState):
            history_imports.start(run_id=run.pk, now=NOW, actor_id=None)
        other = checked(at, content, wishes=Wishes(serials={"NMI0000001": "ANEW"}))
        assert other.report["streams"][0]["refused"] == ""


def test_longer_intervals_of_a_meter_become_equal_steps_of_the_same_energy() -> None:
    at = place("Australia/Brisbane")
    imported(at, nem12(day("20260110", ["0.001"] * 288), 5))
    odd = [f"0.{n:03}" for n in range(7, 55)]
    imported(at, nem12(day("20260111", odd)))
    with open_scope(scope(at)):
        device = Device.objects.select_related("facility").get(facility=at)
        found = amounts(
            device, "e1", datetime(2026, 1, 10, tzinfo=AEST), datetime(2026, 1, 12, tzinfo=AEST)
        )
    wanted = {"2026-01-10": 288.0, "2026-01-11": float(sum(range(7, 55)))}
    assert {name: round(amount, 6) for name, amount in found.items()} == wanted
    halves = [value for _, value in readings(at)][288:294]
    assert halves == [24.0, 12.0, 12.0, 12.0, 12.0, 12.0]


def test_intervals_are_not_mixed_with_what_a_device_reports() -> None:
    at = place()
    with open_scope(scope(at)):
        device = factories.device(at).device
    run = checked(
        at, nem12(day("20260110", FLAT)), wishes=Wishes(serials={"NMI0000001": device.serial})
    )
    assert "reports itself" in run.report["streams"][0]["refused"]


def plain(serial: str, column: str, values: list[str]) -> tuple[bytes, dict[str, object]]:
    heading = f"{serial} {column}"
    rows = [f"2026-01-10T00:00:{2 * n:02}.500Z,{value}" for n, value in enumerate(values)]
    mapping: dict[str, object] = {
        "time": "time_utc",
        "stamp": "instant",
        "values": [{"column": heading}],
    }
    return ("time_utc," + heading + "\n" + "\n".join(rows)).encode(), mapping


def test_plain_readings_go_into_the_channel_that_the_heading_names() -> None:
    at = place()
    with open_scope(scope(at)):
        device = factories.device(at).device
    content, mapping = plain(device.serial, "voltage (V)", ["230.01", "230.5", "", "229.99"])
    run = imported(at, content, mapping=mapping)
    assert run.report["streams"][0]["refused"] == ""
    start = 1_768_003_200_000
    assert readings(at, "voltage") == [
        (start + 500, 230.01),
        (start + 2500, 230.5),
        (start + 6500, 229.99),
    ]
    for column, values, sentence in (
        ("voltage (V)", ["230.001"], "more decimals than the channel keeps"),
        ("voltage (kV)", ["0.23001"], ""),
        ("voltage (A)", ["1"], "is in V, the column in A"),
        ("frequency (Hz)", ["50"], "no channel for column"),
    ):
        content, mapping = plain(device.serial, column, values)
        assert sentence in checked(at, content, mapping=mapping).report["streams"][0]["refused"]
        assert bool(sentence) == bool(
            checked(at, content, mapping=mapping).report["streams"][0]["refused"]
        )


def test_imported_meter_stays_what_it_is_and_where_it_is() -> None:
    at = place()
    imported(at, nem12(day("20260110", FLAT)))
    with open_scope(scope(at)):
        device = Device.objects.get(facility=at)
        assert status.has_reported(connection, device.pk)
        other = factories.facility(at.tenant)
        with (
            pytest.raises(IntegrityError, match="has reported"),
            transaction.atomic(),
        ):
            Device.objects.filter(pk=device.pk).update(facility=other)
        with pytest.raises(IntegrityError, match="cannot be deleted"), transaction.atomic():
            device.channels.all().delete()


def test_file_that_was_changed_in_the_database_is_not_imported() -> None:
    at = place()
    run = checked(at, nem12(day("20260110", FLAT)))
    with open_scope(scope(at)):
        KeptFile.objects.filter(pk=run.file_id).update(content=zstandard.compress(b"x"))
        with pytest.raises(ChangedFileError):
            history_imports.start(run_id=run.pk, now=NOW, actor_id=None)


def test_removed_import_takes_its_file_along_unless_another_has_it() -> None:
    at = place()
    content = nem12(day("20260110", FLAT))
    first, second = checked(at, content), checked(at, content)
    with open_scope(scope(at)):
        history_imports.remove(run_id=first.pk, actor_id=None)
        assert KeptFile.objects.count() == 1
        history_imports.remove(run_id=second.pk, actor_id=None)
        assert KeptFile.objects.count() == 0
    run = imported(at, content)
    with open_scope(scope(at)), pytest.raises(WrongState):
        history_imports.remove(run_id=run.pk, actor_id=None)


def test_park_that_changed_since_the_check_is_checked_again() -> None:
    at = place()
    content = nem12(day("20260110", FLAT))
    first = checked(at, content)
    imported(at, content)
    with open_scope(scope(at)), pytest.raises(WrongState, match="changed since the check"):
        history_imports.start(run_id=first.pk, now=NOW, actor_id=None)
