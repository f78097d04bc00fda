"""Exports hold exactly what was measured, and give it back when they are imported."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from devices import tasks
from devices.domain import export_reading, exports
from devices.domain.catalogue import ChannelNotFound
from devices.domain.exports import ExportNotFound, Question, TooManyExportsError
from devices.domain.series import read_series
from devices.domain.series_bounds import SeriesRefusedError
from devices.models import (
    DataExport,
    DataExportPart,
    Device,
    ExportFormat,
    ExportResolution,
    ExportState,
    Facility,
)
from devices.telemetry.export_formats import Field, NotExactlyError, Writer, exactly, plainly
from devices.telemetry.periods import Resolution
from devices.tests import factories
from devices.tests.history_world import NOW, imported, place, scope
from tenants.scope import Scope, open_scope

pytestmark = pytest.mark.django_db(databases=["default", "owner"])

START = datetime(2026, 3, 28, 22, tzinfo=UTC)  # the clocks of Vienna go forward three hours later
KEYS = ("active_power (W)", "voltage (V)")


def filled(at: Facility, rows: list[tuple[int, str, str]]) -> Device:
    """A device with readings: milliseconds after START, power, voltage; '' for none."""
    with open_scope(scope(at)):
        device = factories.device(at).device
    store(at, device, rows)
    return device


def store(at: Facility, device: Device, rows: list[tuple[int, str, str]]) -> None:
    headings = [f"{device.serial} {key}" for key in KEYS]
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["time", *headings])
    for after_ms, *values in rows:
        writer.writerow([(START + timedelta(milliseconds=after_ms)).isoformat(), *values])
    mapping = {
        "time": "time",
        "stamp": "instant",
        "decimal_mark": ".",
        "values": [{"column": heading} for heading in headings],
    }
    imported(at, text.getvalue().encode(), mapping=mapping)


def channels_of(device: Device) -> tuple[int, ...]:
    return tuple(device.channels.order_by("number").values_list("pk", flat=True))


def asked(device: Device, **changes: Any) -> Question:
    wanted: dict[str, Any] = {
        "channels": channels_of(device),
        "start": START,
        "end": START + timedelta(days=2),
        "resolution": ExportResolution.RAW,
        "format": ExportFormat.PARQUET,
    }
    return Question(**{**wanted, **changes})


def exported(at: Facility, question: Question) -> tuple[DataExport, bytes]:
    with open_scope(scope(at)):
        export = exports.create(question=question, now=NOW, actor_id=None)
    exports.run(export_id=export.pk, scoped=lambda: open_scope(scope(at)), clock=lambda: NOW)
    with open_scope(scope(at)):
        export.refresh_from_db()
        assert export.problem == ""
        _, parts = exports.file_of(export_id=export.pk)
    return export, b"".join(exports.contents(parts, lambda: open_scope(scope(at))))


ROWS = [(0, "1.5", "230.01"), (500, "-0.1", ""), (7_200_000, "20000", "299.99")]


def test_parquet_has_readings_as_decimals_with_what_they_are() -> None:
    at = place()
    device = filled(at, ROWS)
    with open_scope(scope(at)):
        export, data = exported(at, asked(device))
    table = pq.read_table(io.BytesIO(data))
    assert table.column_names == [
        "time_utc", "time_local", f"{device.serial} active_power (W)",
        f"{device.serial} voltage (V)",
    ]  # fmt: skip
    assert table.column(2).to_pylist() == [Decimal("1.5"), Decimal("-0.1"), Decimal("20000.0")]
    assert table.column(3).to_pylist() == [Decimal("230.01"), None, Decimal("299.99")]
    assert table.column(0).to_pylist()[1] == START + timedelta(milliseconds=500)
    local = table.column(1).to_pylist()
    assert [at.isoformat()[11:] for at in local] == [
        "23:00:00+01:00", "23:00:00.500000+01:00", "01:00:00+01:00",
    ]  # fmt: skip
    facts = {key.decode(): value.decode() for key, value in table.field(3).metadata.items()}
    assert (facts["device"], facts["unit"], facts["resolution"]) == (device.serial, "V", "0.01")
    assert table.schema.metadata[b"resolution"] == b"raw"
    assert (export.state, export.row_count, export.progress) == (ExportState.FINISHED, 3, 1.0)
    assert export.size == len(data)


def test_csv_and_arrow_say_the_same() -> None:
    at = place()
    device = filled(at, ROWS)
    with open_scope(scope(at)):
        _, packed = exported(at, asked(device, format=ExportFormat.CSV))
        _, stream = exported(at, asked(device, format=ExportFormat.ARROW))
    rows = list(csv.reader(io.StringIO(gzip.decompress(packed).decode())))
    assert rows[0][:2] == ["time_utc", "time_local"]
    assert rows[1:] == [
        ["2026-03-28T22:00:00.000Z", "2026-03-28T23:00:00.000+0100", "1.5", "230.01"],
        ["2026-03-28T22:00:00.500Z", "2026-03-28T23:00:00.500+0100", "-0.1", ""],
        ["2026-03-29T00:00:00.000Z", "2026-03-29T01:00:00.000+0100", "20000.0", "299.99"],
    ]
    table = pa.ipc.open_stream(stream).read_all()
    assert table.column(2).to_pylist() == [Decimal("1.5"), Decimal("-0.1"), Decimal("20000.0")]


reading = st.tuples(
    st.integers(-200_000, 200_000).map(lambda raw: f"{Decimal(raw) / 10}"),
    st.integers(0, 30_000).map(lambda raw: f"{Decimal(raw) / 100}"),
)


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.dictionaries(st.integers(0, 172_799_999), reading, min_size=1, max_size=12),
    st.sampled_from([ExportFormat.CSV, ExportFormat.PARQUET]),
)
def test_export_that_is_imported_gives_the_same_readings(
    rows: dict[int, tuple[str, str]], form: ExportFormat
) -> None:
    at = place()
    device = filled(at, [(after, *values) for after, values in sorted(rows.items())])
    with open_scope(scope(at)):
        other = factories.device(at).device
        _, data = exported(at, asked(device, format=form))
    if form == ExportFormat.CSV:
        data = gzip.decompress(data).replace(device.serial.encode(), other.serial.encode())
    else:
        table = pq.read_table(io.BytesIO(data))
        names = [name.replace(device.serial, other.serial) for name in table.column_names]
        sink = io.BytesIO()
        pq.write_table(table.rename_columns(names), sink)
        data = sink.getvalue()
    mapping = {
        "time": "time_utc",
        "stamp": "instant",
        "values": [{"column": f"{other.serial} {key}"} for key in KEYS],
    }
    imported(at, data, mapping=mapping)
    with open_scope(scope(at)):
        before, after = (
            read_series(
                channels=channels_of(one),
                start=START,
                end=START + timedelta(days=2),
                resolution=Resolution.RAW,
            ).channels
            for one in (device, other)
        )
        for one, same in zip(before, after, strict=True):
            assert one.curve is not None
            assert same.curve is not None
            assert one.curve.times.tolist() == same.curve.times.tolist()
            assert one.curve.values.tolist() == same.curve.values.tolist()
            assert len(one.curve.times) == len(rows)


def test_periods_have_their_ends_and_measures_in_the_calendar_asked_for() -> None:
    at = place()
    device = filled(at, [(1000 * second, "3600", "230") for second in range(0, 172_800, 2_000)])
    with open_scope(scope(at)):
        _, data = exported(at, asked(device, resolution=ExportResolution.DAY))
    table = pq.read_table(io.BytesIO(data))
    starts, ends = (table.column(name).to_pylist() for name in ("time_utc", "end_utc"))
    hours = [(end - start).total_seconds() / 3600 for start, end in zip(starts, ends, strict=True)]
    assert hours == [1, 23, 24]
    with open_scope(scope(at)):
        periods = (
            read_series(
                channels=channels_of(device)[:1],
                start=START,
                end=START + timedelta(days=2),
                resolution=Resolution.DAY,
            )
            .channels[0]
            .periods
        )
    assert periods is not None
    heading = f"{device.serial} active_power energy (Wh)"
    assert table.column(heading).to_pylist() == periods.energy.tolist()


@pytest.mark.parametrize(
    ("resolution", "as_of"),
    [(one, as_of) for one in ExportResolution for as_of in (False, True)],
)
def test_windows_join_without_gap_or_overlap(resolution: ExportResolution, as_of: bool) -> None:
    start, end = START + timedelta(minutes=7), START + timedelta(days=400, minutes=3)
    found = list(
        export_reading.windows(start, end, Resolution(resolution), 3, "Europe/Vienna", as_of=as_of)
    )
    assert (found[0].start, found[-1].end, found[-1].part) == (start, end, 1.0)
    for one, following in pairwise(found):
        assert one.end == following.start
        assert one.start < one.end
    if resolution in (ExportResolution.DAY, ExportResolution.MONTH):
        inner = [one.end.astimezone(ZoneInfo("Europe/Vienna")) for one in found[:-1]]
        assert {at.time().isoformat() for at in inner} == {"00:00:00"}


def started(at: Facility, device: Device, **changes: Any) -> DataExport:
    return exports.create(question=asked(device, **changes), now=NOW, actor_id=None)


def between(at: Facility, happening: Callable[[], None]) -> exports.Scoped:
    """Scopes of the steps of an export; before the fourth, something happens."""
    steps = 0

    def scoped() -> AbstractContextManager[object]:
        nonlocal steps
        steps += 1
        if steps == 4:
            happening()
        return open_scope(scope(at))

    return scoped


def test_export_whose_worker_was_killed_is_begun_anew_and_the_older_worker_stops() -> None:
    at = place()
    device = filled(at, ROWS)
    with open_scope(scope(at)):
        export = started(at, device)

        def begin_again() -> None:
            tasks.export_history(tenant_id=at.tenant_id, export_id=export.pk)

        exports.run(export_id=export.pk, scoped=between(at, begin_again), clock=lambda: NOW)
        export.refresh_from_db()
        assert (export.state, export.attempt) == (ExportState.FINISHED, 2)
        _, parts = exports.file_of(export_id=export.pk)
        data = b"".join(exports.contents(parts, lambda: open_scope(scope(at))))
        assert pq.read_table(io.BytesIO(data)).num_rows == 3
        assert export.parts.count() == len(parts)


def test_export_that_stands_still_is_found_and_given_up_after_some_attempts() -> None:
    at = place()
    device = filled(at, ROWS)
    with open_scope(scope(at)):
        export = started(at, device)
        assert exports.stalled(now=NOW) == ()
        later = NOW + timedelta(minutes=6)
        assert exports.stalled(now=later) == ((at.tenant_id, export.pk),)
        DataExport.objects.filter(pk=export.pk).update(attempt=exports.MOST_ATTEMPTS)
        tasks.export_history(tenant_id=at.tenant_id, export_id=export.pk)
        export.refresh_from_db()
        assert export.state == ExportState.FAILED
        assert "several attempts" in export.problem


def test_cancelled_export_stops_and_leaves_nothing_behind() -> None:
    at = place()
    device = filled(at, ROWS)
    with open_scope(scope(at)):
        export = started(at, device)

        def stop() -> None:
            exports.cancel(export_id=export.pk, now=NOW, actor_id=None)

        exports.run(export_id=export.pk, scoped=between(at, stop), clock=lambda: NOW)
        export.refresh_from_db()
        assert (export.state, export.size) == (ExportState.CANCELLED, 0)
        assert DataExportPart.objects.count() == 0
        with pytest.raises(ExportNotFound):
            exports.file_of(export_id=export.pk)
        exports.cancel(export_id=export.pk, now=NOW, actor_id=None)
        assert DataExport.objects.count() == 0
        with pytest.raises(ExportNotFound):
            exports.cancel(export_id=export.pk, now=NOW, actor_id=None)


def test_file_expires_after_some_days() -> None:
    at = place()
    device = filled(at, ROWS)
    with open_scope(scope(at)):
        exported(at, asked(device))
        assert exports.expire(now=NOW + exports.KEPT_FOR) == 0
        assert exports.expire(now=NOW + exports.KEPT_FOR + timedelta(seconds=1)) > 0
        assert (DataExport.objects.count(), DataExportPart.objects.count()) == (0, 0)


def test_what_cannot_be_exported_is_refused_with_a_sentence() -> None:
    at = place()
    device = filled(at, ROWS)
    with open_scope(scope(at)):
        own = channels_of(device)
        for changes, sentence in (
            ({"channels": ()}, "at least one channel"),
            ({"channels": own[:1] * 2}, "named twice"),
            ({"channels": tuple(range(1, 202))}, "at most 200"),
            ({"end": START}, "period is empty"),
            ({"zone": "Nowhere/Else"}, "no time zone"),
            ({"resolution": ExportResolution.MONTH, "as_of": NOW}, "at most 1 channels"),
        ):
            with pytest.raises(SeriesRefusedError, match=sentence):
                started(at, device, **changes)
        with pytest.raises(ChannelNotFound):
            started(at, device, channels=(10**9,))
        for _ in range(exports.MOST_AT_ONCE):
            started(at, device)
        with pytest.raises(TooManyExportsError, match="under way already"):
            started(at, device)
        DataExport.objects.update(state=ExportState.FINISHED, size=exports.MOST_BYTES)
        with pytest.raises(TooManyExportsError, match="take 5 GB already"):
            started(at, device)


def test_narrowed_member_sees_exports_of_its_facility_alone() -> None:
    at = place()
    device = filled(at, ROWS)
    with open_scope(scope(at)):
        elsewhere = factories.device(factories.facility(at.tenant)).device
        both = (*channels_of(device), *channels_of(elsewhere))
        own = started(at, device)
        started(at, device, channels=both)
        started(at, elsewhere, channels=channels_of(elsewhere))
    with open_scope(Scope((at.tenant_id,), (at.pk,))):
        assert list(DataExport.objects.values_list("pk", flat=True)) == [own.pk]
        with pytest.raises(ChannelNotFound):
            started(at, device, channels=both)
        exports.run(
            export_id=own.pk,
            scoped=lambda: open_scope(Scope((at.tenant_id,), (at.pk,))),
            clock=lambda: NOW,
        )
        _, parts = exports.file_of(export_id=own.pk)
        assert len(parts) == 1
    with open_scope(scope(place())):
        assert DataExport.objects.count() == 0
        with pytest.raises(ExportNotFound):
            exports.part_content(parts[0])


@given(
    st.lists(st.none() | st.integers(-(2**53) + 1, 2**53 - 1), max_size=30),
    st.sampled_from(["1", "0.1", "0.001", "25", "0.125", "3.6", "0.000000001", "1000000000"]),
)
def test_any_reading_is_written_as_the_decimal_that_it_is(
    raws: list[int | None], resolution: str
) -> None:
    field = Field("x", Decimal(resolution), {})
    step = Decimal(resolution)
    numerator, denominator = step.as_integer_ratio()
    # As series gives them.
    values = np.array([(raw or 0) * numerator / denominator for raw in raws], float)
    safe = [raw if raw is not None and abs(raw) < 2**50 else None for raw in raws]
    present = np.array([raw is not None for raw in safe], np.bool_)
    found = exactly(values, present, field)
    assert found.to_pylist() == [None if raw is None else raw * step for raw in safe]


def test_more_digits_than_a_double_has_are_refused() -> None:
    field = Field("register", Decimal(1), {})
    with pytest.raises(NotExactlyError, match="register"):
        exactly(np.array([2.0**53]), np.array([True]), field)


def test_file_is_handed_on_in_pieces_and_no_more_is_kept() -> None:
    pieces: list[bytes] = []
    field = Field("x", None, {})
    writer = Writer("arrow", [field], zone="UTC", facts={}, sink=pieces.append, with_end=False)
    for at in range(12):
        times = np.arange(at * 100_000, (at + 1) * 100_000, dtype=np.int64)
        writer.write(times, None, [plainly(times.astype(float))])
    assert len(pieces) >= 4
    writer.close()
    table = pa.ipc.open_stream(b"".join(pieces)).read_all()
    assert table.num_rows == 1_200_000
