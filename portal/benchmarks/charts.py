"""The past in charts: bytes and time of an answer beside JSON, and how quickly charts are drawn.

Answers are packed as `portal.charts.history` does it, of columns like those of a facility, and as
the REST API writes them. Drawing is that of `static/js/history/plot.js` in a headless Chromium,
which has no graphics card: six charts with six lines each, moved along for some seconds.
"""

from __future__ import annotations

import gzip
import json
import time
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import numpy as np
from django.conf import settings
from playwright.sync_api import Route, sync_playwright

from devices.domain.series import ChannelFacts, ChannelSeries, SeriesResult
from devices.telemetry.periods import Reason, Resolution
from devices.telemetry.series import Curve, Periods
from portal.benchmarks.product import CHROMIUM_ARGUMENTS, browser_path
from portal.charts import history

_START: Final = datetime(2026, 11, 1, tzinfo=UTC)
_START_MS: Final = int(_START.timestamp()) * 1000
_ORIGIN: Final = "http://charts.invalid"
_ROUNDS: Final = 7
_CHARTS: Final = 6
_LINES: Final = 6

_PAN: Final = """
async ([charts, lines, readings, seconds]) => {
  const { Plot } = await import("/history/plot.js");
  const { Track } = await import("/history/columns.js");
  const from = Date.UTC(2026, 10, 1);
  const track = () => {
    let value = 0;
    return new Track({
      raw: true, step: 2000, gap: new Uint8Array(readings),
      begin: Float64Array.from({ length: readings }, (_, i) => from + i * 2000),
      mean: Float64Array.from({ length: readings }, () => (value += Math.random() - 0.5)),
    });
  };
  document.body.replaceChildren();
  const plots = Array.from({ length: charts }, () => {
    const canvas = document.createElement("canvas");
    canvas.style.cssText = "width: 470px; height: 216px; display: inline-block";
    document.body.append(canvas);
    const made = Array.from({ length: lines }, () => ({ track: track(), colour: "#1d5fd6" }));
    return { plot: new Plot(canvas), made };
  });
  const span = (readings * 2000) / 1.5;
  const look = { font: "11px sans-serif", text: "#000", grid: "#eee", zero: "#ccc", accent: "" };
  const draws = [];
  const frames = [];
  const begun = performance.now();
  let last = begun;
  while (last - begun < seconds * 1000) {
    await new Promise(requestAnimationFrame);
    const now = performance.now();
    const start = from + (span / 4) * (1 + Math.sin((now - begun) / 500));
    const view = { from: start, to: start + span };
    for (const { plot, made } of plots) {
      plot.draw({
        view, scale: { low: -60, high: 60, step: 20 }, ticks: [], label: String, look,
        lines: made, rules: [], chosen: null,
      });
    }
    draws.push(performance.now() - now);
    frames.push(now - last);
    last = now;
  }
  const at = (list, part) => list.sort((a, b) => a - b)[Math.floor(list.length * part)];
  return {
    frames: frames.length, frame_p50_ms: at(frames, 0.5), frame_p95_ms: at(frames, 0.95),
    draw_p50_ms: at(draws, 0.5), draw_p95_ms: at(draws, 0.95),
  };
}
"""


def add_arguments(parser: ArgumentParser) -> None:
    """The options of the benchmark."""
    parser.add_argument("--seconds", type=int, default=5, help="how long charts are moved")


def run(options: Namespace) -> dict[str, object]:
    """Sizes and times by shape of the answer; times of drawing."""
    return {
        "answers": {
            "8 channels, an hour of readings": _compared(_readings(8)),
            "36 channels, an hour of readings": _compared(_readings(36)),
            "36 channels, a week of quarters": _compared(_quarters(36)),
        },
        "drawing": _drawn(options.seconds),
    }


def _facts(number: int) -> ChannelFacts:
    return ChannelFacts(
        number, 1, 1, number, "p", "Power", "active_power", "W", Decimal("0.1"), 2000, "UTC"
    )


def _readings(count: int) -> SeriesResult:
    random = np.random.default_rng(1)
    times = _START_MS + np.arange(1_800, dtype=np.int64) * 2_000
    none = np.zeros(len(times), np.bool_)
    curves = [
        Curve(times, np.cumsum(random.integers(-30, 31, len(times))) / 10, none)
        for _ in range(count)
    ]
    return _result([ChannelSeries(_facts(n), curve=one) for n, one in enumerate(curves)])


def _quarters(count: int) -> SeriesResult:
    random = np.random.default_rng(1)
    starts = _START_MS + np.arange(7 * 96, dtype=np.int64) * 900_000
    found = []
    for number in range(count):
        mean = np.cumsum(random.integers(-300, 301, len(starts))) / 7
        periods = Periods(
            starts=starts,
            ends=starts + 900_000,
            n=np.full(len(starts), 450, np.int64),
            minimum=np.round(mean - 5, 1),
            maximum=np.round(mean + 5, 1),
            mean=mean,
            first=np.round(mean, 1),
            last=np.round(mean, 1),
            energy=np.abs(mean) / 4,
            returned=np.zeros(len(starts)),
            coverage=np.ones(len(starts)),
            gap_before=np.zeros(len(starts), np.bool_),
        )
        found.append(ChannelSeries(_facts(number), periods=periods))
    return _result(found)


def _result(found: list[ChannelSeries]) -> SeriesResult:
    end = _START + timedelta(days=7)
    return SeriesResult(_START, end, Resolution.RAW, Reason.ASKED, None, tuple(found))


def _compared(result: SeriesResult) -> dict[str, float]:
    columns, columns_ms = _timed(lambda: history.packed(result))
    text, text_ms = _timed(lambda: _as_json(result))
    return {
        "columns_bytes": len(columns),
        "columns_ms": columns_ms,
        "columns_gzip_bytes": len(gzip.compress(columns, 1)),
        "json_bytes": len(text),
        "json_ms": text_ms,
        "json_gzip_bytes": len(gzip.compress(text, 1)),
    }


def _as_json(result: SeriesResult) -> bytes:
    """The same columns as arrays of JSON."""
    answers: list[dict[str, Any]] = []
    for one in result.channels:
        columns = one.curve or one.periods
        names = () if columns is None else columns.__slots__
        answers.append({name: getattr(columns, name).tolist() for name in names})
    return json.dumps(answers, separators=(",", ":")).encode()


def _timed(make: Callable[[], bytes]) -> tuple[bytes, float]:
    """What is made, and the least time of some rounds in ms."""
    times = []
    made = b""
    for _ in range(_ROUNDS):
        begun = time.perf_counter()
        made = make()
        times.append((time.perf_counter() - begun) * 1000)
    return made, round(min(times), 2)


def _drawn(seconds: int) -> dict[str, float]:
    """Times of moving charts with an hour and a half of two-second readings."""
    chromium = browser_path()
    folder = settings.BASE_DIR / "static" / "js"

    def answer(route: Route) -> None:
        name = route.request.url.removeprefix(f"{_ORIGIN}/")
        if name:
            route.fulfill(path=folder / name, content_type="text/javascript")
        else:
            route.fulfill(body="<!doctype html><title>charts</title>", content_type="text/html")

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(chromium), args=[*CHROMIUM_ARGUMENTS]
        )
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.route(f"{_ORIGIN}/**", answer)
        page.goto(f"{_ORIGIN}/")
        measured: dict[str, float] = page.evaluate(_PAN, [_CHARTS, _LINES, 2_700, seconds])
        browser.close()
    return {name: round(value, 1) for name, value in measured.items()}
