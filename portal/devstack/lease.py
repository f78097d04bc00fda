"""Who uses the servers of a copy, and whether they run: locks in the folder `run` (see
`keeper.py`)."""

from __future__ import annotations

import fcntl
import os
import signal
import time

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
    """Whether a process holds the servers."""
    with (home.run / "lease.lock").open("w") as lease:
        try:
            fcntl.flock(lease, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


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
        with (home.run / "keeper.lock").open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
