"""Who uses the servers of a copy, and whether they run: locks in the folder `run` (see
`keeper.py`)."""

from __future__ import annotations

import fcntl
import os
import signal
import time
from typing import IO

from portal.devstack.errors import SetupError
from portal.devstack.home import Home


def set_persistent(home: Home, *, persistent: bool) -> None:
    """Whether the servers stay up when nobody uses them."""
    mark = home.run / "persistent"
    if persistent:
        mark.touch()
    else:
        mark.unlink(missing_ok=True)


def running(home: Home) -> dict[str, object]:
    """The keeper's state ("pid", "servers", a port each), empty when the servers are down."""
    return home.read_state("servers") if keeper_runs(home) else {}


def wait_stopped(home: Home, seconds: float = 40.0) -> bool:
    """Waits until the keeper is gone; False when it still runs after `seconds`."""
    deadline = time.monotonic() + seconds
    while keeper_runs(home):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def in_use(home: Home) -> bool:
    """Whether a process holds the servers; a keeper that is ending them does not count."""
    with (home.run / "lease.lock").open("w") as lease:
        return not _try(lease, fcntl.LOCK_EX) and _try(lease, fcntl.LOCK_SH)


def stop(home: Home) -> bool:
    """Stops the servers; False when a running command still uses them: they stop with it.

    Raises SetupError when they do not stop.
    """
    state = running(home)
    set_persistent(home, persistent=False)
    if not keeper_runs(home):
        return True
    if in_use(home):
        return False
    pid = state.get("pid")
    if isinstance(pid, int) and keeper_runs(home):
        os.kill(pid, signal.SIGTERM)
    if not wait_stopped(home):
        raise SetupError(f"the servers did not stop within 40 s: see {home.log}")
    return True


def keeper_runs(home: Home) -> bool:
    """Whether the servers' keeper is alive."""
    try:
        with (home.run / "keeper.lock").open("r") as lock:
            return not _try(
                lock, fcntl.LOCK_SH
            )  # shared, so that two who ask do not see each other
    except FileNotFoundError:
        return False


def _try(file: IO[str], kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
