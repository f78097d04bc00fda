"""Other time series databases on this machine, for `bench peers`: found or fetched, started, ended.

Each runs on loopback with a data folder of its own, as the ordinary user that the development
stack's servers run as (where that user can reach the program), and is gone with its data when the
block ends.
"""

from __future__ import annotations

import http.client
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from django.conf import settings

from devices.benchmarks.stack import StackError
from portal.devstack.home import reachable, service_user
from portal.devstack.process import end, free_port, last_line, spawn

READY_S: Final = 30.0
STOP_S: Final = 30.0
# Files that have not changed for so long are what stays; one that still does is given up on.
QUIET_S: Final = 20.0
SETTLE_S: Final = 300.0


@dataclass(frozen=True, slots=True)
class Kind:
    """A database that can be compared with: its program and its package in Debian.

    `command` makes the command line from the program, a folder that is its own and a port; what it
    writes beforehand goes into the folder.
    """

    name: str
    program: str
    package: str
    command: Callable[[Path, Path, int], list[str]]


@dataclass(frozen=True, slots=True)
class Server:
    """A running database."""

    kind: Kind
    program: Path
    port: int
    folder: Path
    process: subprocess.Popen[bytes]

    def size(self) -> int:
        """Bytes on disk of all its files; holes of sparse files take none."""
        found = 0
        for path in self.folder.rglob("*"):
            try:
                status = path.lstat()
            except FileNotFoundError:
                continue  # compacted away meanwhile
            found += status.st_blocks * 512
        return found

    def cpu_s(self) -> float:
        """Processor time so far, user and system."""
        text = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="ascii")
        fields = text.rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def settled(self) -> float:
        """Wait until files and processor are quiet; returns the seconds that it took."""
        began = changed = time.monotonic()
        size, used = self.size(), self.cpu_s()
        while time.monotonic() - changed < QUIET_S:
            if time.monotonic() - began > SETTLE_S:
                raise StackError(f"{self.kind.name} is not quiet after {SETTLE_S:.0f} s")
            time.sleep(1)
            size_now, used_now = self.size(), self.cpu_s()
            if size_now != size or used_now - used > 0.2:
                changed = time.monotonic()
            size, used = size_now, used_now
        return changed - began


def find(kind: Kind, *, fetch: bool) -> Path | None:
    """The program: of the machine, else unpacked into a folder of this copy, which `fetch` fills
    from the machine's own archive. None when there is none.
    """
    found = shutil.which(kind.program)
    if found is not None:
        return Path(found)
    root = Path(settings.HOME) / "peers"
    program = root / "usr" / "bin" / kind.program
    if not program.exists() and fetch:
        _unpack(kind.package, root)
    return program if program.exists() else None


def _unpack(package: str, root: Path) -> None:
    root.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="fetch-", dir=settings.HOME) as scratch:
        _run(["apt-get", "-q", "download", package], Path(scratch))
        for archive in Path(scratch).glob("*.deb"):
            _run(["dpkg", "-x", str(archive), str(root)], Path(scratch))
    root.chmod(0o755)


def _run(command: list[str], folder: Path) -> None:
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, errors="replace", check=False
        )
    except FileNotFoundError as error:
        raise StackError(f"{command[0]} is missing: peers are fetched by Debian's tools") from error
    if done.returncode:
        reason = (done.stderr + done.stdout).strip().splitlines()[-1:] or ["it said nothing"]
        raise StackError(f"{' '.join(command[:3])}: {reason[0]}")


@contextmanager
def running(kind: Kind, program: Path, ready: str) -> Iterator[Server]:
    """The server, once it answers `ready` (a path); ended by its process at the end of the block.

    Raises StackError when it does not start.
    """
    user = service_user()
    if user is not None and not reachable(program.resolve().parent, user):
        user = None
    # Not in the copy's folder, which that user may not be let into.
    folder = Path(tempfile.mkdtemp(prefix=f"wattline-{kind.program}-", dir="/var/tmp"))
    process = None
    log = Path(settings.HOME) / "log" / f"{kind.program}.log"
    log.parent.mkdir(exist_ok=True)
    try:
        port = free_port()
        command = kind.command(program, folder, port)
        if user is not None:
            for path in (folder, *folder.rglob("*")):
                os.chown(path, user.uid, user.gid)
        process = spawn(command, log=log, user=user, dies_with=signal.SIGKILL)
        _wait(kind, process, port, ready, log)
        yield Server(kind, program, port, folder, process)
    finally:
        if process is not None:
            end(process, signal.SIGTERM, STOP_S)
        shutil.rmtree(folder)


def _wait(kind: Kind, process: subprocess.Popen[bytes], port: int, ready: str, log: Path) -> None:
    deadline = time.monotonic() + READY_S
    while True:
        try:
            with Http(port) as http:
                status, _ = http.ask("GET", ready)
        except OSError:
            status = 0
        if 200 <= status < 300:
            return
        if process.poll() is not None or time.monotonic() > deadline:
            raise StackError(f"{kind.name} did not start: {last_line(log)}")
        time.sleep(0.1)


class Http:
    """A connection to a server on this machine that is kept."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the connection back."""
        self._connection.close()

    def ask(
        self,
        method: str,
        path: str,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, bytes]:
        """Status and whole body of an answer."""
        try:
            return self._ask(method, path, body, headers or {})
        except (http.client.RemoteDisconnected, ConnectionResetError, BrokenPipeError):
            if method != "GET":
                raise
            # A server closes connections that were idle for a while.
            self._connection.close()
            return self._ask(method, path, body, headers or {})

    def _ask(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> tuple[int, bytes]:
        self._connection.request(method, path, body, dict(headers))
        answer = self._connection.getresponse()
        return answer.status, answer.read()
