"""The history of a channel: columns as JSON, or rows as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from numpy.typing import NDArray
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from devices.domain.history import facility_series
from devices.domain.series import ChannelSeries, SeriesResult, read_channel
from devices.domain.series_bounds import EARLIEST, MOST_ROWS, SeriesRefusedError
from devices.telemetry.estimates import PeriodEstimates
from devices.telemetry.periods import Resolution
from devices.telemetry.series import Curve, Periods
from portal.api import serializers as shapes
from portal.api.schema import problems
from portal.api.views import DEVICE_READINGS, FACILITY_READINGS, ApiView
from portal.charts.history import MEDIA_TYPE, packed

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
DEFAULT_PERIOD: Final = timedelta(days=1)
# Rows of one answer in bytes: half a million take about 25 MB with all columns.
MOST_PACKED_ROWS: Final = 500_000
_INSTANT: Final = "_ms"


class CsvRenderer(BaseRenderer):
    """Rows with a head; instants in UTC (ISO 8601), nothing where a number is unknown."""

    media_type = "text/csv"
    format = "csv"
    charset = "utf-8"

    def render(
        self,
        data: Mapping[str, Any],
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        """The columns of an answer; a problem stays the JSON that its media type says."""
        if renderer_context is None or renderer_context["response"].exception:
            rendered: bytes = JSONRenderer().render(data)
            return rendered
        columns = data["raw"] or data["periods"]
        text = io.StringIO(newline="")
        writer = csv.writer(text)
        writer.writerow([name.removesuffix(_INSTANT) for name in columns])
        writer.writerows(zip(*(map(_cell(name), columns[name]) for name in columns), strict=True))
        return text.getvalue().encode()


class ChannelHistory(ApiView):
    """What a channel has measured over time."""

    access = {"GET": DEVICE_READINGS}
    renderer_classes = [JSONRenderer, CsvRenderer]

    @extend_schema(
        operation_id="channel_series",
        tags=["Readings"],
        parameters=[shapes.ChannelSeriesQuery],
        responses={
            (200, "application/json"): shapes.SeriesSerializer,
            (200, "text/csv"): OpenApiTypes.STR,
            **problems(400, 401, 403, 404, 429),
        },
    )
    def get(self, request: Request, pk: int) -> Response:
        """Readings, or periods of the facility's calendar, in [start, end).

        At most 50 000 rows, and for readings eight weeks.
        """
        wanted = self.parameters(shapes.ChannelSeriesQuery, request)
        start, end = _period(wanted)
        if wanted["estimate"] and request.accepted_renderer.format == CsvRenderer.format:
            raise SeriesRefusedError("estimate", "Estimates come as JSON: ask for that format.")
        found = read_channel(
            channel_id=pk,
            start=start,
            end=end,
            resolution=Resolution(wanted["resolution"]),
            points=wanted.get("points"),
            as_of=wanted.get("as_of"),
            estimate=wanted["estimate"],
        )
        return Response(_body(found, found.channels[0]))


class ColumnsRenderer(BaseRenderer):
    """Columns of bytes (portal/charts/history.py), for many numbers at once."""

    media_type = MEDIA_TYPE
    format = "columns"
    charset = None
    render_style = "binary"

    def render(
        self,
        data: SeriesResult | Mapping[str, Any],
        accepted_media_type: str | None = None,
        renderer_context: Mapping[str, Any] | None = None,
    ) -> bytes:
        """The columns of an answer; a problem stays the JSON that its media type says."""
        if isinstance(data, SeriesResult):
            return packed(data)
        rendered: bytes = JSONRenderer().render(data)
        return rendered


class FacilityHistory(ApiView):
    """What channels of a facility have measured over time."""

    access = {"GET": FACILITY_READINGS}
    renderer_classes = [JSONRenderer, ColumnsRenderer]

    @extend_schema(
        operation_id="facility_series",
        tags=["Readings"],
        parameters=[shapes.FacilitySeriesQuery],
        responses={
            (200, "application/json"): shapes.FacilitySeriesSerializer,
            (200, MEDIA_TYPE): OpenApiTypes.BINARY,
            **problems(400, 401, 403, 404, 429),
        },
    )
    def get(self, request: Request, pk: int) -> Response:
        """Readings, or periods of the facility's calendar, in [start, end), of up to 512 channels.

        At most 50 000 rows in all as JSON, 500 000 as columns of bytes, and for readings eight
        weeks of a channel.
        """
        wanted = self.parameters(shapes.FacilitySeriesQuery, request)
        start, end = _period(wanted)
        found = facility_series(
            facility_id=pk,
            channels=wanted["channels"],
            start=start,
            end=end,
            resolution=Resolution(wanted["resolution"]),
            points=wanted.get("points"),
            as_of=wanted.get("as_of"),
        )
        is_packed = request.accepted_renderer.media_type == MEDIA_TYPE
        _refuse_many(found, MOST_PACKED_ROWS if is_packed else MOST_ROWS)
        if is_packed:
            return Response(found)
        return Response({"facility": pk, "series": [_body(found, one) for one in found.channels]})


def _period(wanted: Mapping[str, Any]) -> tuple[datetime, datetime]:
    end = wanted.get("end") or datetime.now(UTC)
    # One out of bounds is refused by whoever reads; the calendar has no day before its first.
    start = wanted.get("start") or (end - DEFAULT_PERIOD if end > EARLIEST else end)
    return start, end


def _refuse_many(found: SeriesResult, most: int) -> None:
    rows = sum(map(len, found.channels))
    if rows > most:
        raise SeriesRefusedError(
            "channels",
            f"The answer would have {rows} rows, and at most {most} are sent at once: ask for"
            f" fewer channels, for a shorter period, for a coarser resolution or, for up to"
            f" {MOST_PACKED_ROWS} rows, for {MEDIA_TYPE}.",
        )


def _body(result: SeriesResult, found: ChannelSeries) -> dict[str, object]:
    """Made by hand: a serializer would look at each number."""
    channel = found.channel
    return {
        "channel": channel.channel_id,
        "device": channel.device_id,
        "key": channel.key,
        "quantity": channel.quantity,
        "unit": channel.unit,
        "time_zone": channel.zone,
        "start": _iso(result.start),
        "end": _iso(result.end),
        "resolution": result.resolution.value,
        "reason": result.reason.value,
        "as_of": None if result.as_of is None else _iso(result.as_of),
        "raw": None if found.curve is None else _raw(found.curve),
        "periods": None if found.periods is None else _periods(found.periods),
        "estimates": None if found.estimates is None else _estimates(found.estimates),
    }


def _raw(curve: Curve) -> dict[str, list[Any]]:
    return {
        "time_ms": curve.times.tolist(),
        "value": curve.values.tolist(),
        "gap_before": curve.gap_before.tolist(),
    }


def _periods(periods: Periods) -> dict[str, list[Any]]:
    return {
        "start_ms": periods.starts.tolist(),
        "end_ms": periods.ends.tolist(),
        "n": periods.n.tolist(),
        "minimum": _known(periods.minimum),
        "maximum": _known(periods.maximum),
        "mean": _known(periods.mean),
        "first": _known(periods.first),
        "last": _known(periods.last),
        "energy_wh": _known(periods.energy),
        "returned_wh": _known(periods.returned),
        "coverage": _known(periods.coverage),
        "gap_before": periods.gap_before.tolist(),
    }


def _estimates(found: PeriodEstimates) -> dict[str, list[Any]]:
    return {
        "start_ms": found.starts.tolist(),
        "end_ms": found.ends.tolist(),
        "wh": found.wh.tolist(),
        "share": found.share.tolist(),
        "gaps": [
            {
                "start": _iso(_EPOCH + timedelta(milliseconds=gap.start_ms)),
                "end": _iso(_EPOCH + timedelta(milliseconds=gap.end_ms)),
                "method": gap.method,
                "wh": gap.wh,
                "scaled": gap.scaled,
                "reason": gap.reason,
            }
            for gap in found.gaps
        ],
    }


def _known(column: NDArray[np.float64]) -> list[float | None]:
    """The numbers, None for NaN, which JSON does not have."""
    return [None if number != number else number for number in column.tolist()]


def _cell(name: str) -> Any:
    if name.endswith(_INSTANT):
        return lambda at: _iso(_EPOCH + timedelta(milliseconds=at))
    return int if name == "gap_before" else _same


def _same(value: object) -> object:
    return value


def _iso(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
