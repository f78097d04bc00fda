"""The supervisor with real stand-in processes: one log, restarts, a stop that leaves nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from portal import env

# Runs the list of [name, command, grace] given as JSON, says "ready" once the file named exists.
RUNNER = """
import json, sys, pathlib
from portal.devstack.supervisor import Log, Process, Supervisor
listed = [Process(name, tuple(command), grace, errand=name.startswith("errand"))
    for name, command, grace in json.loads(sys.argv[1])]
log = Log(sys.stdout, [process.name for process in listed])
ready = pathlib.Path(sys.argv[2]).exists
supervisor = Supervisor(listed, log, pause_seconds=0.01)
sys.exit(supervisor.run(ready, lambda: log.write("wattline", "ready")))
"""
STANDING = "import time; print('standing', flush=True); time.sleep(600)"
# Ignores the polite request, and has a child in a session of its own that does so too.
STUBBORN = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.Popen([sys.executable, "-c", "import signal, time\\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\\ntime.sleep(600)", *sys.argv[1:]],
    start_new_session=True)
print('standing', flush=True)
time.sleep(600)
"""
STOPPING = """
import signal, sys, time
def stop(*_): print('stopping', flush=True); sys.exit(0)
signal.signal(signal.SIGTERM, stop)
print('standing', flush=True)
time.sleep(600)
"""
DYING = "import sys; print('dying', flush=True); sys.exit(7)"
PATIENCE_SECONDS = 30.0

Listed = list[tuple[str, str, float]]


class Run:
    """A supervisor in a process of its own; `token` is in the command line of all it starts."""

    def __init__(self, listed: Listed, ready: Path) -> None:
        self.token = uuid.uuid4().hex
        commands = [
            (name, [sys.executable, "-c", code, self.token], grace) for name, code, grace in listed
        ]
        self.process = subprocess.Popen(
            [sys.executable, "-c", RUNNER, json.dumps(commands), str(ready)],
            cwd=env.CHECKOUT,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def lines_until(self, word: str, count: int = 1) -> list[str]:
        """Output up to the `count`th line with `word`."""
        assert self.process.stdout is not None
        lines: list[str] = []
        while sum(word in line for line in lines) < count:
            line = self.process.stdout.readline()
            assert line, f"the supervisor ended before it said {word!r}: {lines}"
            lines.append(line.rstrip())
        return lines

    def rest(self) -> list[str]:
        """Output until the end, which must come in time."""
        output, _ = self.process.communicate(timeout=PATIENCE_SECONDS)
        return output.splitlines()

    def left(self) -> list[int]:
        """Processes with the token, besides the supervisor itself."""
        return [pid for pid in processes_with(self.token) if pid != self.process.pid]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    runs: list[Run] = []

    def make(*listed: tuple[str, str, float], ready: bool = True) -> Run:
        mark = tmp_path / "ready"
        if ready:
            mark.touch()
        runs.append(Run(list(listed), mark))
        return runs[-1]

    yield make
    for run in runs:
        for pid in processes_with(run.token):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        run.process.wait()
        if run.process.stdout is not None:
            run.process.stdout.close()


def test_supervisor_log_names_the_process_of_every_line(start: Callable[..., Run]) -> None:
    run = start(("alpha", STANDING, 5), ("bravo", STANDING, 5))
    lines = run.lines_until("wattline | ready")
    heads = sorted(line.split(" ", 1)[1] for line in lines)
    assert heads == ["alpha    | standing", "bravo    | standing", "wattline | ready"]
    assert all(time.strptime(line.split(" ", 1)[0], "%H:%M:%S") for line in lines)


def test_supervisor_stops_in_reverse_order(start: Callable[..., Run]) -> None:
    run = start(("alpha", STOPPING, 5), ("bravo", STOPPING, 5), ("charlie", STOPPING, 5))
    run.lines_until("standing", count=3)
    run.process.send_signal(signal.SIGINT)
    said = [line.split(" ", 1)[1] for line in run.rest() if "stopping" in line]
    assert said == [
        "wattline | stopping (SIGINT)",
        "charlie  | stopping",
        "bravo    | stopping",
        "alpha    | stopping",
    ]
    assert run.process.returncode == 0
    assert run.left() == []


def test_supervisor_kills_what_does_not_stop_and_its_children(start: Callable[..., Run]) -> None:
    run = start(("alpha", STUBBORN, 0.5), ("bravo", STANDING, 5))
    run.lines_until("standing", count=2)
    wait_until(lambda: len(run.left()) == 5)  # two guards, two commands, a child
    run.process.terminate()
    output = "\n".join(run.rest())
    assert "alpha    | did not end within 0.5 s and was killed" in output
    assert run.left() == []


def test_supervisor_killed_leaves_nothing_running(start: Callable[..., Run]) -> None:
    run = start(("alpha", STUBBORN, 0.5), ("bravo", STANDING, 5))
    run.lines_until("standing", count=2)
    wait_until(lambda: len(run.left()) == 5)
    run.process.kill()
    run.process.wait()
    wait_until(lambda: run.left() == [])


def test_supervisor_and_guards_killed_leave_no_process(start: Callable[..., Run]) -> None:
    run = start(("alpha", STANDING, 5), ("bravo", STANDING, 5))
    run.lines_until("standing", count=2)
    guards = [pid for pid in run.left() if b"guard.py" in command_line(pid)]
    assert len(guards) == 2
    for pid in [run.process.pid, *guards]:
        os.kill(pid, signal.SIGKILL)
    run.process.wait()
    wait_until(lambda: run.left() == [])


def test_supervisor_starts_a_dead_process_again(start: Callable[..., Run]) -> None:
    run = start(("alpha", STANDING, 5), ("bravo", STANDING, 5))
    run.lines_until("standing", count=2)
    victim = next(pid for pid in run.left() if b"guard.py" not in command_line(pid))
    os.kill(victim, signal.SIGKILL)
    lines = run.lines_until("standing")
    assert any("was ended by signal 9 and is started again in 0.01 s" in line for line in lines)


def test_supervisor_gives_up_on_a_process_that_keeps_dying(start: Callable[..., Run]) -> None:
    run = start(("alpha", STANDING, 5), ("bravo", DYING, 5), ready=False)
    lines = run.rest()
    assert run.process.returncode == 1
    assert sum("bravo    | dying" in line for line in lines) == 6
    assert "bravo ended with exit code 7, the 6th time within 120 s" in lines[-1]
    assert run.left() == []


def test_supervisor_begins_an_errand_when_all_is_ready_and_lets_it_end(
    start: Callable[..., Run], tmp_path: Path
) -> None:
    run = start(("alpha", STANDING, 5), ("errand", "print('done')", 5), ready=False)
    run.lines_until("standing")
    (tmp_path / "ready").touch()
    lines = run.lines_until("done")
    assert [line.split(" ", 1)[1] for line in lines] == ["wattline | ready", "errand   | done"]
    run.process.send_signal(signal.SIGINT)
    assert [line.split(" ", 1)[1] for line in run.rest()] == ["wattline | stopping (SIGINT)"]
    assert run.process.returncode == 0


def test_supervisor_gives_up_an_errand_and_the_others_go_on(start: Callable[..., Run]) -> None:
    run = start(("alpha", STOPPING, 5), ("errand", DYING, 5))
    lines = run.lines_until("it is given up")
    assert sum("errand   | dying" in line for line in lines) == 6
    assert lines[-1].endswith("errand ended with exit code 7, the 6th time: it is given up")
    run.process.send_signal(signal.SIGINT)
    assert "alpha    | stopping" in "\n".join(run.rest())
    assert run.process.returncode == 0
    assert run.left() == []


def wait_until(condition: Callable[[], bool]) -> None:
    """Returns when `condition` holds; fails when that takes longer than any machine needs."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.02)


def processes_with(token: str) -> list[int]:
    """Living processes that have `token` in their command line."""
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [pid for pid in pids if token.encode() in command_line(pid)]


def command_line(pid: int) -> bytes:
    """Empty when the process is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
