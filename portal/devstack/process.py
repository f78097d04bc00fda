"""Starting and ending server processes so that none outlives who started it."""

from __future__ import annotations

import ctypes
import os
import random
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

from portal.devstack.home import ServiceUser

_PR_SET_PDEATHSIG = 1
# Above what well-known services and unsafe ports of browsers are, below where Linux begins.
_PORTS = range(20_000, 32_768)
_libc = ctypes.CDLL(None, use_errno=True)


def spawn(
    command: list[str], *, log: Path, user: ServiceUser | None, dies_with: signal.Signals
) -> subprocess.Popen[bytes]:
    """Starts `command` in a session of its own as `user`, its output appended to `log`.

    The kernel sends it `dies_with` when the calling thread ends, however that ends: call it from
    the main thread.
    """

    def follow_parent() -> None:
        _libc.prctl(_PR_SET_PDEATHSIG, int(dies_with), 0, 0, 0)

    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd="/",
            env=clean_environment(),
            start_new_session=True,
            umask=0o077,
            preexec_fn=follow_parent,
            **identity(user),
        )


def end(server: subprocess.Popen[bytes], how: signal.Signals, grace: float) -> None:
    """Asks `server` to end, waits at most `grace` seconds, then kills it."""
    if server.poll() is None:
        server.send_signal(how)
    try:
        server.wait(grace)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def identity(user: ServiceUser | None) -> dict[str, Any]:
    """Arguments for subprocess to run as `user`."""
    return {} if user is None else {"user": user.uid, "group": user.gid, "extra_groups": []}


def clean_environment() -> dict[str, str]:
    """The environment for a server: nothing that could redirect it, no secrets of ours."""
    kept = {name: os.environ[name] for name in ("PATH", "TZ", "TMPDIR") if name in os.environ}
    return {**kept, "LC_ALL": "C", "LANG": "C"}


def runs(pid: int, mark: str) -> bool:
    """Whether process `pid` exists and has `mark` in its command line."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return os.fsencode(mark) in command


def free_port(preferred: int | None = None) -> int:
    """A TCP port on 127.0.0.1 that nobody uses, `preferred` when it is free.

    Others are drawn from those that the kernel gives to no outgoing connection (ip(7),
    ip_local_port_range), which might take one before its server listens.
    """
    drawn = random.sample(_PORTS, 100)
    for port in ([preferred] if preferred else []) + drawn + [0]:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise OSError("no free port on 127.0.0.1")


def last_line(log: Path) -> str:
    """The last line of a log file that says something."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError:
        lines = []
    return lines[-1] if lines else "no output"


def python(module: str, *arguments: str) -> list[str]:
    """The command that runs `module` with this interpreter."""
    return [sys.executable, "-m", module, *arguments]
