"""Runs a list of processes in the foreground: one merged log, restarts with back-off, an ordered
stop.

Every process runs under a guard (`guard.py`), so whatever it starts ends with it, and everything
ends when the supervisor does, even by kill -9.
"""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import IO

from portal import env

_GUARD = Path(__file__).with_name("guard.py")
# A line longer than this is cut into several: nobody reads it, and memory stays bounded.
_LONGEST_LINE = 16_384
_TICK_SECONDS = 0.25
# Ending more often than this within the window means that a restart does not help.
MOST_RESTARTS = 5
RESTART_WINDOW_SECONDS = 120.0
_LONGEST_BACKOFF_SECONDS = 15.0
# What the guard needs beyond a process's grace to end what that left behind.
_GUARD_SECONDS = 5.0
_COLOURS = (36, 33, 32, 35, 34, 96, 93, 92, 95, 94)


@dataclass(frozen=True)
class Process:
    """One process of the product: what to run, and how long it may take to end when asked.

    An `errand` begins when all others are ready, and is over when it ends with 0. One that keeps
    failing is given up, and the others go on.
    """

    name: str
    command: tuple[str, ...]
    grace_seconds: float = 10.0
    errand: bool = False


@dataclass
class _Running:
    process: Process
    guard: subprocess.Popen[bytes] | None = None
    output: IO[bytes] | None = None
    rest: bytes = b""
    ended_at: list[float] = field(default_factory=list)
    start_at: float = 0.0
    over: bool = False


class Log:
    """The merged log: `HH:MM:SS name | line`, coloured on a terminal (unless NO_COLOR is set)."""

    def __init__(self, out: IO[str], names: Sequence[str]) -> None:
        self._out = out
        self._width = max(map(len, [*names, "wattline"]))
        coloured = out.isatty() and not os.environ.get("NO_COLOR")
        colours = dict(zip(names, _COLOURS * len(names), strict=False)) if coloured else {}
        self._colours: Mapping[str, int] = colours

    def write(self, name: str, line: str) -> None:
        """One line of `name`."""
        head = f"{time.strftime('%H:%M:%S')} {name:<{self._width}} |"
        colour = self._colours.get(name)
        print(f"\x1b[{colour}m{head}\x1b[0m {line}" if colour else f"{head} {line}", file=self._out)
        self._out.flush()


class Supervisor:
    """Starts `processes` in their order and stops them in the reverse order.

    One that ended is started again after `pause_seconds`, doubled with each time.
    """

    def __init__(
        self,
        processes: Sequence[Process],
        log: Log,
        environment: Mapping[str, str] | None = None,
        pause_seconds: float = 0.5,
    ) -> None:
        self._pause_seconds = pause_seconds
        self._running = [_Running(process) for process in processes]
        self._log = log
        self._environment = {**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})}
        self._selector = selectors.DefaultSelector()
        self._signals: list[int] = []

    def run(self, ready: Callable[[], bool], announce: Callable[[], None]) -> int:
        """Runs until a signal arrives (0) or a process cannot be kept alive (1).

        `ready` is asked about once a second until it says yes; then `announce` is called, once.
        """
        wake_reading, wake_writing = os.pipe()
        os.set_blocking(wake_writing, False)
        previous_fd = signal.set_wakeup_fd(wake_writing, warn_on_full_buffer=False)
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        previous = {number: signal.signal(number, self._note) for number in numbers}
        self._selector.register(wake_reading, selectors.EVENT_READ)
        try:
            return self._loop(ready, announce)
        except BrokenPipeError:  # whoever read our output is gone
            sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115
            return 1
        finally:
            self._stop_all()
            for number, handler in previous.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(previous_fd)
            self._selector.unregister(wake_reading)
            os.close(wake_reading)
            os.close(wake_writing)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self._signals.append(number)

    def _loop(self, ready: Callable[[], bool], announce: Callable[[], None]) -> int:
        for running in self._running:
            running.over = running.process.errand  # until all others are ready
            if not running.over:
                self._start(running)
        announced = False
        next_question = time.monotonic() + 1
        while not self._signals:
            self._pump(_TICK_SECONDS)
            for running in self._running:
                if not self._keep_alive(running):
                    return 1
            if not announced and time.monotonic() >= next_question:
                announced = ready()
                next_question = time.monotonic() + 1
                if announced:
                    announce()
                    self._begin_errands()
        self._log.write("wattline", f"stopping ({signal.Signals(self._signals[0]).name})")
        return 0

    def _begin_errands(self) -> None:
        for running in self._running:
            if running.process.errand:
                running.over = False
                self._start(running)

    def _start(self, running: _Running) -> None:
        process = running.process
        guard = [sys.executable, "-S", "-E", str(_GUARD), str(process.grace_seconds)]
        running.guard = subprocess.Popen(
            [*guard, str(os.getpid()), *process.command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=env.CHECKOUT,
            env=self._environment,
            start_new_session=True,  # Ctrl-C on the terminal reaches us alone; we stop in order
        )
        running.output = running.guard.stdout
        assert running.output is not None
        os.set_blocking(running.output.fileno(), False)
        self._selector.register(running.output, selectors.EVENT_READ, running)

    def _keep_alive(self, running: _Running) -> bool:
        """Restarts what has ended; False when that has happened too often."""
        now = time.monotonic()
        if running.over:
            return True
        if running.guard is None:
            if now >= running.start_at:
                self._start(running)
            return True
        code = running.guard.poll()
        if code is None:
            return True
        self._drain(running)
        running.guard = None
        if running.process.errand and code == 0:
            running.over = True
            return True
        running.ended_at = [at for at in running.ended_at if now - at < RESTART_WINDOW_SECONDS]
        running.ended_at.append(now)
        name, times = running.process.name, len(running.ended_at)
        how = f"was ended by signal {code - 128}" if code > 128 else f"ended with exit code {code}"
        if times > MOST_RESTARTS and running.process.errand:
            running.over = True
            self._log.write("wattline", f"{name} {how}, the {times}th time: it is given up")
            return True
        if times > MOST_RESTARTS:
            self._log.write(
                "wattline",
                f"{name} {how}, the {times}th time within {RESTART_WINDOW_SECONDS:.0f} s: "
                "everything "
                "is stopped; its last lines above say why",
            )
            return False
        pause = min(_LONGEST_BACKOFF_SECONDS, self._pause_seconds * 2 ** (times - 1))
        running.start_at = now + pause
        self._log.write("wattline", f"{name} {how} and is started again in {pause:g} s")
        return True

    def _stop_all(self) -> None:
        for running in reversed(self._running):
            if running.guard is None:
                continue
            running.guard.terminate()
            deadline = time.monotonic() + running.process.grace_seconds + _GUARD_SECONDS
            while running.guard.poll() is None:
                if time.monotonic() > deadline:
                    running.guard.kill()  # the kernel kills the process with its guard
                    running.guard.wait()
                self._pump(0.05)
            self._drain(running)
            running.guard = None

    def _pump(self, seconds: float) -> None:
        """Waits up to `seconds` for output and passes it on."""
        for key, _events in self._selector.select(seconds):
            if isinstance(key.data, _Running):
                self._read(key.data)
            elif isinstance(key.fileobj, int):
                os.read(key.fileobj, 64)

    def _read(self, running: _Running) -> bool:
        """Passes on a piece of what the process has written; False when there is no more now."""
        if running.output is None:
            return False
        try:
            data = os.read(running.output.fileno(), 65_536)
        except BlockingIOError:
            return False
        if not data:
            self._close_output(running)
            return False
        *lines, running.rest = (running.rest + data).split(b"\n")
        if len(running.rest) > _LONGEST_LINE:
            lines.append(running.rest)
            running.rest = b""
        for line in lines:
            self._log.write(running.process.name, line.decode(errors="replace").rstrip())
        return True

    def _drain(self, running: _Running) -> None:
        """Passes on the last words of a process that has ended."""
        while self._read(running):
            pass
        self._close_output(running)

    def _close_output(self, running: _Running) -> None:
        if running.rest:
            self._log.write(running.process.name, running.rest.decode(errors="replace").rstrip())
            running.rest = b""
        if running.output is not None:
            self._selector.unregister(running.output)
            running.output.close()
            running.output = None
