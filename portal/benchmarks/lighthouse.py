"""Google's Lighthouse on the pages that people open first: overview, facility, sign-in, home.

Runs the whole product with the demo (that of `make up`, where it runs) and a headless Chromium.
The score of a page is the median of the runs; it takes minutes and is not part of `bench all`.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import tempfile
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from django.conf import settings

from devices.benchmarks.stack import StackError
from portal import survey
from portal.benchmarks.product import (
    CHROMIUM_ARGUMENTS,
    CONSUMER,
    PEOPLE,
    Visitor,
    browser_path,
    running_product,
)
from portal.devstack.frontend import find_node

IN_ALL = False
ATTEMPTS: Final = 3
_TIMEOUT_S: Final = 240


@dataclass(frozen=True, slots=True)
class Goal:
    """A page, who looks at it (None: nobody), on what, and the scores that it has to reach."""

    route: str
    email: str | None
    form_factor: Literal["desktop", "mobile"]
    performance: int = 90
    accessibility: int = 100
    best_practices: int = 95

    @property
    def scores(self) -> dict[str, int]:
        """Category → least score."""
        return {
            "performance": self.performance,
            "accessibility": self.accessibility,
            "best-practices": self.best_practices,
        }


GOALS: Final = (
    Goal("login", None, "desktop"),
    Goal("overview", PEOPLE[0], "desktop"),
    Goal("facility", PEOPLE[0], "desktop"),
    Goal("consumer:home", CONSUMER, "mobile"),
)


def add_arguments(parser: ArgumentParser) -> None:
    """How often, and which page."""
    parser.add_argument("--runs", type=int, default=3, help="of each page; the median counts")
    parser.add_argument("--only", default="", help="routes whose name contains this")
    parser.add_argument("--reports", type=Path, help="a folder for the full reports (JSON)")


def run(options: Namespace) -> dict[str, object]:
    """Measure; `ok` is False when a page misses a score."""
    program = settings.BASE_DIR / "node_modules" / "lighthouse" / "cli" / "index.js"
    if not program.exists():
        raise StackError("Lighthouse is not installed: run `make servers` once, then try again")
    pages: dict[str, object] = {}
    good = True
    with running_product() as url:
        for goal in GOALS:
            if options.only not in goal.route:
                continue
            visitor = Visitor(url, goal.email)
            path = _path(visitor, goal)
            reports = [_patiently(program, url + path, goal, visitor) for _ in range(options.runs)]
            if options.reports:
                _keep(options.reports, goal, reports[-1])
            pages[goal.route] = told = _told(path, goal, reports)
            good &= told["missed"] == []
    return {"ok": good, "runs": options.runs, "pages": pages}


def _path(visitor: Visitor, goal: Goal) -> str:
    """Where the page is: the first that the person finds."""
    for page in survey.explore(visitor.get):
        if page.route == goal.route:
            return page.path
    raise StackError(f"{goal.email or 'nobody'} finds no page of the route {goal.route}")


def _patiently(program: Path, url: str, goal: Goal, visitor: Visitor) -> dict[str, Any]:
    """A report; a browser that had no processor time for its trace gets another chance or two."""
    for _ in range(ATTEMPTS - 1):
        try:
            return _report(program, url, goal, visitor)
        except StackError:
            continue
    return _report(program, url, goal, visitor)


def _report(program: Path, url: str, goal: Goal, visitor: Visitor) -> dict[str, Any]:
    node = find_node()
    cookies = "; ".join(f"{name}={value}" for name, value in visitor.cookies.items())
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        headers = Path(folder) / "headers.json"
        headers.write_text(json.dumps({"Cookie": cookies} if cookies else {}), encoding="utf-8")
        done = subprocess.run(
            [
                *(*node.node, str(program), url, "--quiet", "--no-enable-error-reporting"),
                *("--output=json", f"--output-path={report}", f"--extra-headers={headers}"),
                f"--only-categories={','.join(goal.scores)}",
                f"--chrome-flags={' '.join(CHROMIUM_ARGUMENTS)}",
                *(["--preset=desktop"] if goal.form_factor == "desktop" else []),
            ],
            env={**os.environ, "PATH": node.path, "CHROME_PATH": str(browser_path())},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_S,
            check=False,
        )
        if done.returncode or not report.exists():
            raise StackError(f"Lighthouse failed on {url}: {done.stderr.strip()[-800:]}")
        found: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
    if error := found.get("runtimeError"):
        raise StackError(f"Lighthouse failed on {url}: {error.get('message')}")
    return found


def _keep(folder: Path, goal: Goal, report: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{goal.route.replace(':', '-')}.json"
    (folder / name).write_text(json.dumps(report), encoding="utf-8")


def _told(path: str, goal: Goal, reports: list[dict[str, Any]]) -> dict[str, Any]:
    scores = {
        name: round(statistics.median(r["categories"][name]["score"] * 100 for r in reports))
        for name in goal.scores
    }
    last = reports[-1]
    counted = {
        reference["id"]
        for name in goal.scores
        for reference in last["categories"][name]["auditRefs"]
        if reference["weight"] > 0
    }
    return {
        "path": path,
        "form_factor": goal.form_factor,
        **scores,
        "missed": [name for name, least in goal.scores.items() if scores[name] < least],
        "first_contentful_paint_ms": _metric(reports, "first-contentful-paint"),
        "largest_contentful_paint_ms": _metric(reports, "largest-contentful-paint"),
        "total_blocking_time_ms": _metric(reports, "total-blocking-time"),
        "layout_shift": round(
            statistics.median(
                r["audits"]["cumulative-layout-shift"]["numericValue"] for r in reports
            ),
            3,
        ),
        # What costs points, in words.
        "to_mend": {
            key: f"{audit['title']} {audit.get('displayValue', '')}".strip()
            for key, audit in last["audits"].items()
            if key in counted and audit["score"] is not None and audit["score"] < 0.9
        },
    }


def _metric(reports: list[dict[str, Any]], name: str) -> int:
    found: list[float] = [report["audits"][name]["numericValue"] for report in reports]
    return round(statistics.median(found))
