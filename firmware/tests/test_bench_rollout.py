"""`manage.py bench rollout`, small: the whole product updates a few devices."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from django.conf import settings


def test_bench_rollout_updates_every_device_once() -> None:
    own = ("DATABASE_URL", "DATABASE_APP_URL", "DATABASE_INGEST_URL", "REDIS_URL")
    small = (
        *("--devices", "12", "--live", "2", "--size", "16384"),
        *("--before", "1", "--soak", "0", "--restart", "1", "--most", "240"),
    )
    done = subprocess.run(
        [sys.executable, "manage.py", "bench", "rollout", "--json", *small],
        cwd=settings.BASE_DIR,
        env={name: value for name, value in os.environ.items() if name not in own},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout)
    assert (result["ok"], result["confirmed"], result["states"]) == (True, 12, {"succeeded": 12})
    assert len(result["waves_s"]) == 3
    assert result["bytes"] >= 12 * 16_000
    assert result["live_frames"][1] > 0
    assert {"bridge", "worker", "writer"} <= result["cpu_s"].keys() & result["rss_mb"].keys()
