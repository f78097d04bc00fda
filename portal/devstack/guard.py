"""Runs one command and answers for everything it starts: nothing of it outlives this process's end.

Started as a script of its own (`python -S -E guard.py GRACE PARENT COMMAND...`), so it imports only
what is needed and costs little. Children of children are adopted (PR_SET_CHILD_SUBREAPER), so they
are found wherever they moved to. The guard ends when its parent does, however that ends. Should the
guard itself be killed, the kernel kills the command.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_POLL_SECONDS = 0.05
# What the command's own children get to end by themselves once it is gone.
_ORPHAN_GRACE_SECONDS = 2.0
_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def main(arguments: list[str]) -> int:
    """Exit code of the command; 128 + number when a signal ended it, 127 when it cannot be run."""
    grace, parent, command = float(arguments[0]), int(arguments[1]), arguments[2:]
    libc = ctypes.CDLL(None, use_errno=True)
    signal.pthread_sigmask(signal.SIG_BLOCK, {*_ENDING, signal.SIGCHLD})
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    if os.getppid() != parent:  # it ended before we asked to be told
        return 128 + signal.SIGTERM
    child = _start(command, libc)
    status: int | None = None
    while status is None:
        received = signal.sigwait({*_ENDING, signal.SIGCHLD})
        status = _end(child, grace) if received in _ENDING else _reap(child)
    _end_orphans()
    return os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status)


def _start(command: list[str], libc: ctypes.CDLL) -> int:
    guard = os.getpid()
    child = os.fork()
    if child:
        return child
    try:
        os.setsid()
        libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != guard:
            os._exit(128 + signal.SIGKILL)
        signal.pthread_sigmask(signal.SIG_SETMASK, set())
        os.execvp(command[0], command)
    except OSError as error:
        os.write(2, f"{command[0]}: {error.strerror}\n".encode())
    os._exit(127)


def _end(child: int, grace: float) -> int:
    """Asks the command to end and kills it after `grace` seconds; its wait status."""
    os.kill(child, signal.SIGTERM)
    deadline = time.monotonic() + grace
    status = _reap(child)
    while status is None:
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            with contextlib.suppress(BrokenPipeError):  # who reads the log may be gone
                os.write(2, f"did not end within {grace:g} s and was killed\n".encode())
            return os.waitpid(child, 0)[1]
        time.sleep(_POLL_SECONDS)
        status = _reap(child)
    return status


def _reap(child: int) -> int | None:
    """Collects what has ended; the wait status of `child` when it is among them."""
    result = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return result
        if pid == 0:
            return result
        if pid == child:
            result = status


def _end_orphans() -> None:
    """Ends what the command left behind: asks, waits, kills, until nothing is left."""
    deadline = time.monotonic() + _ORPHAN_GRACE_SECONDS
    asked: set[int] = set()
    while left := _children():
        late = time.monotonic() > deadline
        for pid in left:
            if late or pid not in asked:
                _send(pid, signal.SIGKILL if late else signal.SIGTERM)
                asked.add(pid)
        time.sleep(_POLL_SECONDS)
        _reap(0)


def _children() -> list[int]:
    with open(  # noqa: PTH123 (pathlib would triple the time of the start)
        f"/proc/self/task/{os.getpid()}/children", encoding="ascii"
    ) as file:
        return [int(pid) for pid in file.read().split()]


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):  # it ended by itself
        os.kill(pid, number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
