"""`manage.py bench`: finds the benchmarks, measures, leaves nothing behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest
from django.conf import settings

from portal.devstack.servers import Endpoints
from portal.management.commands.bench import benchmarks


def test_benchmarks_are_found_by_their_functions() -> None:
    found = benchmarks()
    assert found["ingest"].__name__ == "devices.benchmarks.ingest"
    assert found["wire"].__name__ == "devices.benchmarks.wire"
    assert {"stack", "fleet"}.isdisjoint(found)
    assert all(module.__doc__ for module in found.values())


class Done(NamedTuple):
    """A run of the command that has ended."""

    pid: int
    returncode: int
    stdout: str
    stderr: str


def bench(*arguments: str) -> Done:
    """Run the command as a person would: its servers are those of the copy, not the test's."""
    own = ("DATABASE_URL", "DATABASE_APP_URL", "DATABASE_INGEST_URL", "REDIS_URL")
    with subprocess.Popen(
        [sys.executable, "manage.py", "bench", *arguments],
        cwd=settings.BASE_DIR,
        env={name: value for name, value in os.environ.items() if name not in own},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        stdout, stderr = process.communicate()
    return Done(process.pid, process.returncode, stdout, stderr)


def test_bench_ingest_stores_what_was_acknowledged(servers: Endpoints) -> None:
    done = bench("ingest", "--json", "--devices", "3", "--seconds", "1", "--bridges", "2")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["ok"] is True
    assert result["acked"] == result["stored"] == result["sent"] > 0
    assert result["values_per_s"] == pytest.approx(result["frames_per_s"] * 8 * 30, rel=0.01)
    assert result["duplicates"] == result["quarantined"] == result["imbalances"] == 0
    assert set(result["cpu_s"]) == {
        "bridge",
        "bridge2",
        "generator",
        "postgres",
        "redis",
        "writer",
    }
    with psycopg.connect(servers.database_url) as connection:
        # Its own, which is named by its number: others may be at work beside it.
        query = "SELECT count(*) FROM pg_database WHERE datname = %s"
        assert connection.execute(query, [f"wattline_bench_{done.pid}"]).fetchone() == (0,)
    assert list(Path(settings.HOME).glob(f"bench-{done.pid}-*")) == []


def test_bench_names_what_it_does_not_know() -> None:
    done = bench("nonsense")
    assert done.returncode != 0
    assert "invalid choice: 'nonsense'" in done.stderr


def test_bench_pages_finds_and_measures_every_kind_of_page() -> None:
    arguments = ("--facilities", "3", "--requests", "1", "--goal-ms", "5000")
    done = bench("pages", "--json", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout)
    assert (result["ok"], result["devices"], result["channels"]) == (True, 60, 480)
    assert (result["slow"], result["queries_grow"]) == ({}, [])
    for page in ("overview", "facility", "device", "design", "oauth:grants"):
        assert result["pages"]["admin"][page]["queries"] > 0
    assert set(result["pages"]) == {"admin", "operator", "consumer"}
    assert "device" not in result["pages"]["consumer"]


def test_bench_pages_fails_above_its_goal() -> None:
    arguments = ("--facilities", "3", "--requests", "1", "--goal-ms", "0.001", "--only", "overview")
    done = bench("pages", "--json", *arguments)
    assert done.returncode != 0
    result = json.loads(done.stdout)
    # A consumer is led on to the home.
    assert set(result["slow"]) == {"admin overview", "operator overview"}


def test_bench_audit_measures_every_search(servers: Endpoints) -> None:
    done = bench("audit", "--json", "--plan", "--entries", "3000", "--requests", "1")
    result = json.loads(done.stdout)
    assert result["entries"] == 3000
    assert len(result["scopes"]) == 4
    everything = result["scopes"]["all tenants"]["everything"]
    assert (everything["entries"], everything["queries"]) == (50, 4)
    assert any("Index" in line for line in result["plan"])
    assert not any("Sort" in line for line in result["plan"])


def test_bench_charts_compares_answers_and_draws() -> None:
    done = bench("charts", "--json", "--seconds", "1")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    for answer in found["answers"].values():
        assert 0 < answer["columns_gzip_bytes"] < answer["columns_bytes"] < answer["json_bytes"]
    assert found["drawing"]["frames"] > 0
    assert found["drawing"]["draw_p50_ms"] <= found["drawing"]["draw_p95_ms"]


def test_bench_gate_review_looks_at_a_park() -> None:
    done = bench("gate_review", "--json", "--devices", "200")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["devices"], found["updated"], found["statements"]) == (200, 20, 22)
    assert 100 < found["control"] <= 180
