"""InfluxDB and VictoriaMetrics: how they are run, filled and asked, as their manuals advise."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any, Final
from urllib.parse import urlencode

from devices.benchmarks.stack import StackError
from portal.benchmarks.peer_servers import Http, Kind, Server

RAW: Final = "meter"
QUARTER: Final = "quarter"
_HOUR_MS: Final = 3_600_000
_DAY_MS: Final = 24 * _HOUR_MS
# A minimum and a maximum each: 2 000 points of a curve that keeps its extremes.
_SPANS: Final = 1_000

# Channels of a device by their keys: [(device, (key, …))].
Asked = Sequence[tuple[int, tuple[str, ...]]]


@dataclass(frozen=True, slots=True)
class Questions:
    """The channels and periods of the benchmark; times in ms since the Unix epoch."""

    powers: Asked
    fifty: Asked
    mains: int
    end_ms: int
    month_ms: int
    span_ms: int


@dataclass(frozen=True, slots=True)
class Question:
    """A request, and how many rows its answer has."""

    path: str
    rows: Callable[[bytes], int]


@dataclass(frozen=True, slots=True)
class Peer:
    """A database to compare with: `questions` gives the requests by the name of the query."""

    kind: Kind
    ready: str
    prepare: Callable[[Server], None]
    flush: Callable[[Server], None]
    write: str
    write_quarters: str
    questions: Callable[[Questions], dict[str, Question]]


def load(server: Server, path: str, bodies: Iterable[bytes], connections: int) -> None:
    """Write bodies over several connections that are kept; raises StackError for one refused."""
    waiting: SimpleQueue[bytes | None] = SimpleQueue()
    refused: list[str] = []

    def writer() -> None:
        with Http(server.port) as http:
            while (body := waiting.get()) is not None:
                status, answer = http.ask("POST", path, body)
                if status not in (200, 204):
                    refused.append(f"{status}: {answer[:200]!r}")
                    return

    for body in bodies:
        waiting.put(body)
    threads = [Thread(target=writer) for _ in range(connections)]
    for thread in threads:
        waiting.put(None)
        thread.start()
    for thread in threads:
        thread.join()
    if refused:
        raise StackError(f"{server.kind.name} refused what was written: {refused[0]}")


# --- InfluxDB ---------------------------------------------------------------------------------


def _influx_command(program: Path, folder: Path, port: int) -> list[str]:
    """Its index on disk (TSI), as is advised; what has come is compacted fully as soon as nothing
    more comes, instead of after four hours; no statistics about itself, no log of requests.
    """
    settings = folder / "influxdb.conf"
    settings.write_text(
        f"""reporting-enabled = false
bind-address = "127.0.0.1:0"
[meta]
dir = "{folder}/meta"
[data]
dir = "{folder}/data"
wal-dir = "{folder}/wal"
index-version = "tsi1"
query-log-enabled = false
cache-snapshot-write-cold-duration = "5s"
compact-full-write-cold-duration = "5s"
[monitor]
store-enabled = false
[http]
bind-address = "127.0.0.1:{port}"
log-enabled = false
[logging]
level = "error"
suppress-logo = true
""",
        encoding="utf-8",
    )
    return [str(program), "-config", str(settings)]


def _influx_prepare(server: Server) -> None:
    for statement in (
        "CREATE DATABASE bench WITH DURATION INF SHARD DURATION 7d NAME readings",
        "CREATE RETENTION POLICY quarters ON bench DURATION INF REPLICATION 1 SHARD DURATION 52w",
    ):
        with Http(server.port) as http:
            status, answer = http.ask("POST", "/query?" + urlencode({"q": statement}))
        if status != 200 or b"error" in answer:
            raise StackError(f"InfluxDB: {answer[:200]!r}")


def _nothing(server: Server) -> None:
    """It flushes by itself."""


def _influx_questions(asked: Questions) -> dict[str, Question]:
    end = asked.end_ms

    def question(*statements: str) -> Question:
        values = {"db": "bench", "epoch": "ms", "q": "; ".join(statements)}
        return Question("/query?" + urlencode(values), _influx_rows)

    def select(what: str, table: str, where: str, length_ms: int, *rest: str) -> str:
        period = f"time >= {end - length_ms}ms AND time < {end}ms"
        return " ".join(("SELECT", what, "FROM", table, "WHERE", where, "AND", period, *rest))

    powers = " OR ".join(f"device = '{device_id}'" for device_id, _ in asked.powers)
    readings, quarters = f"readings.{RAW}", f"quarters.{QUARTER}"
    fifty = [
        select(", ".join(keys), quarters, f"device = '{device_id}'", asked.month_ms)
        for device_id, keys in asked.fifty
    ]
    every = "GROUP BY time(1d), device fill(none) tz('Europe/Berlin')"
    span = f"GROUP BY time({_DAY_MS // _SPANS}ms), device fill(none)"
    extremes = "min(active_power), max(active_power)"
    return {
        "last_hour_raw_8_channels": question(
            select("active_power", readings, f"({powers})", _HOUR_MS, "GROUP BY device")
        ),
        "day_raw_8_channels_in_2000_points": question(
            select(extremes, readings, f"({powers})", _DAY_MS, span)
        ),
        "month_by_quarter_50_channels": question(*fifty),
        "year_by_day_200_channels": question(
            select("mean(*)", quarters, "device != ''", asked.span_ms, every)
        ),
        "facility_total_of_a_year": question(
            select(
                "mean(active_power)", quarters, f"device = '{asked.mains}'", asked.span_ms,
                "GROUP BY time(30d) fill(none)",
            )
        ),
    }  # fmt: skip


def _influx_rows(body: bytes) -> int:
    """Numbers in an answer: rows times columns, without the time and where nothing is."""
    answer: dict[str, Any] = json.loads(body)
    found = 0
    for result in answer["results"]:
        if "error" in result:
            raise StackError(f"InfluxDB: {result['error']}")
        for series in result.get("series", ()):
            found += sum(sum(value is not None for value in row[1:]) for row in series["values"])
    return found


INFLUXDB: Final = Peer(
    kind=Kind("InfluxDB", "influxd", "influxdb", _influx_command),
    ready="/ping",
    prepare=_influx_prepare,
    flush=_nothing,
    write="/write?db=bench&rp=readings&precision=ms",
    write_quarters="/write?db=bench&rp=quarters&precision=ms",
    questions=_influx_questions,
)

# --- VictoriaMetrics --------------------------------------------------------------------------


def _victoria_command(program: Path, folder: Path, port: int) -> list[str]:
    return [
        str(program),
        f"-storageDataPath={folder}/data",
        f"-httpListenAddr=127.0.0.1:{port}",
        "-retentionPeriod=10y",
        "-loggerLevel=ERROR",
    ]


def _victoria_flush(server: Server) -> None:
    """What is in memory to files, and files to as few as it makes of them."""
    for path in ("/internal/force_flush", "/internal/force_merge"):
        with Http(server.port) as http:
            status, answer = http.ask("GET", path)
        if status != 200:
            raise StackError(f"VictoriaMetrics: {answer[:200]!r}")


def _victoria_questions(asked: Questions) -> dict[str, Question]:
    end = asked.end_ms

    def export(wanted: Asked, measurement: str, length_ms: int) -> Question:
        values = [("match[]", _selector(measurement, *one)) for one in wanted]
        values += [("start", f"{(end - length_ms) / 1000}"), ("end", f"{(end - 1) / 1000}")]
        return Question("/api/v1/export?" + urlencode(values), _export_rows)

    def over(query: str, length_ms: int, step_ms: int) -> Question:
        """Windows of a step, each ending at its time; answers are computed anew each time."""
        values = {
            "query": query,
            "start": f"{(end - length_ms + step_ms) / 1000}",
            "end": f"{end / 1000}",
            "step": f"{step_ms}ms",
            "nocache": "1",
        }
        return Question("/api/v1/query_range?" + urlencode(values), _range_rows)

    powers = "|".join(str(device_id) for device_id, _ in asked.powers)
    power = f'{RAW}_active_power{{device=~"{powers}"}}'
    span = _DAY_MS // _SPANS
    return {
        "last_hour_raw_8_channels": export(asked.powers, RAW, _HOUR_MS),
        "day_raw_8_channels_in_2000_points": over(
            f'aggr_over_time(("min_over_time", "max_over_time"), {power}[{span}ms])',
            _DAY_MS,
            span,
        ),
        "month_by_quarter_50_channels": export(asked.fifty, QUARTER, asked.month_ms),
        "year_by_day_200_channels": over(
            f'avg_over_time({{__name__=~"{QUARTER}_.*"}}[1d]) keep_metric_names',
            asked.span_ms,
            _DAY_MS,
        ),
        "facility_total_of_a_year": over(
            f'avg_over_time({QUARTER}_active_power{{device="{asked.mains}"}}[30d])',
            asked.span_ms,
            30 * _DAY_MS,
        ),
    }


def _selector(measurement: str, device_id: int, keys: tuple[str, ...]) -> str:
    names = "|".join(f"{measurement}_{key}" for key in keys)
    return f'{{__name__=~"{names}",device="{device_id}"}}'


def _export_rows(body: bytes) -> int:
    return sum(len(json.loads(line)["values"]) for line in body.splitlines())


def _range_rows(body: bytes) -> int:
    answer: dict[str, Any] = json.loads(body)
    if answer["status"] != "success":
        raise StackError(f"VictoriaMetrics: {answer}")
    return sum(len(series["values"]) for series in answer["data"]["result"])


VICTORIAMETRICS: Final = Peer(
    kind=Kind("VictoriaMetrics", "victoria-metrics", "victoria-metrics", _victoria_command),
    ready="/health",
    prepare=_nothing,
    flush=_victoria_flush,
    write="/write?precision=ms",
    write_quarters="/write?precision=ms",
    questions=_victoria_questions,
)
PEERS: Final = (INFLUXDB, VICTORIAMETRICS)
