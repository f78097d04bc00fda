"""`make up`: everything that is needed, then all processes in the foreground."""

from __future__ import annotations

import fcntl
import hashlib
import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from portal import env
from portal.devstack import certificates, frontend, languages, processes
from portal.devstack.errors import SetupError
from portal.devstack.home import Home, current, write_atomic
from portal.devstack.lease import wait_stopped
from portal.devstack.packages import Say
from portal.devstack.scratch import migrate
from portal.devstack.servers import Session, open_session
from portal.devstack.supervisor import Log, Process, Supervisor

_ASK_SECONDS = 5.0


def up() -> int:
    """Sets up what is missing, runs everything until Ctrl-C, stops it; returns the exit code."""
    started_at = time.monotonic()
    home = current()
    web_port = env.integer("WATTLINE_PORT", 8000, minimum=1, maximum=65535)
    bridge_port = env.integer("WATTLINE_BRIDGE_PORT", 8883, minimum=1, maximum=65535)
    with only_one(home):
        require_port_free(web_port, "WATTLINE_PORT")
        require_port_free(bridge_port, "WATTLINE_BRIDGE_PORT")
        listed = processes.product(home, web_port)
        log = Log(sys.stdout, [process.name for process in listed])

        def say(line: str) -> None:
            log.write("wattline", line)

        session = open_session(say, home)
        try:
            logins = prepare(session, say)
            return _run(listed, session, log, web_port, logins, started_at)
        finally:
            session.close()
            if not (home.run / "persistent").exists() and not wait_stopped(home):
                say(f"PostgreSQL or Redis is still running, used by another command ({home.log})")


def prepare(session: Session, say: Say) -> object:
    """Front-end packages, catalogues, certificates, migrations, static files, demo tenants; returns
    the logins."""
    home = session.home
    frontend.ensure(home, say)
    languages.compile_all()
    certificates.ensure(home, say)
    say("migrating the database")
    migrate(session.endpoints, home)
    collect_static(session, say)
    say("making sure the demo tenants are there")
    output = manage(session, "demo")
    try:
        return json.loads(output)
    except ValueError as error:
        raise SetupError(f"`manage.py demo` printed no JSON but {output[:200]!r}") from error


def manage(session: Session, *arguments: str) -> str:
    """Standard output of one management command; raises SetupError with the end of its messages."""
    done = subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=env.CHECKOUT,
        env=environment(session),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        tail = "\n".join((done.stderr or done.stdout).strip().splitlines()[-15:])
        raise SetupError(f"`manage.py {' '.join(arguments)}` failed:\n{tail}")
    return done.stdout


def environment(session: Session) -> dict[str, str]:
    """Variables for processes that work on a session's servers."""
    return {
        **os.environ,
        **session.endpoints.variables(),
        "WATTLINE_HOME": str(session.home.path),
        "SECRET_KEY": session.home.secret("secret_key", 64),
    }


def require_port_free(port: int, variable: str) -> None:
    """Raises SetupError when somebody listens on `port` of 127.0.0.1 already, or we may not."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except PermissionError:
            raise SetupError(
                f"port {port} may not be opened by an ordinary user: set {variable} to one above "
                "1023"
            ) from None
        except OSError:
            raise SetupError(
                f"port {port} is taken by another program: set {variable} to a free one, or end it"
            ) from None


@contextmanager
def only_one(home: Home) -> Iterator[None]:
    """Holds the place of the one `make up` of a home; raises SetupError when it is taken."""
    with (home.run / "up.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise SetupError(
                f"`make up` runs on {home.path} already (process {lock.read().strip() or '?'}): "
                "end "
                "it with Ctrl-C, or set WATTLINE_HOME, WATTLINE_PORT and WATTLINE_BRIDGE_PORT for "
                "a copy beside it"
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


def collect_static(session: Session, say: Say) -> None:
    """Runs collectstatic when a file under static/ or a package changed since the last time."""
    stamp = session.home.run / "static.stamp"
    digest = hashlib.sha256((env.CHECKOUT / "requirements.txt").read_bytes())
    for file in sorted((env.CHECKOUT / "static").rglob("*")):
        if file.is_file():
            digest.update(str(file.relative_to(env.CHECKOUT)).encode())
            digest.update(file.read_bytes())
    wanted = digest.hexdigest()
    target = session.home.path / "static"
    if target.exists() and stamp.exists() and stamp.read_text(encoding="utf-8") == wanted:
        return
    say("collecting static files")
    manage(session, "collectstatic", "--no-input", "--clear", "-v", "0")
    write_atomic(stamp, wanted, 0o644)


def _run(
    listed: list[Process],
    session: Session,
    log: Log,
    web_port: int,
    logins: object,
    started_at: float,
) -> int:
    url = f"http://localhost:{web_port}/"

    def ready() -> bool:
        return ask_ready(web_port)

    def announce() -> None:
        seconds = time.monotonic() - started_at
        log.write("wattline", f"all processes are up after {seconds:.0f} s; Ctrl-C stops them")
        for line in describe_logins(logins):
            log.write("wattline", line)
        log.write("wattline", f"ready: {url}")

    return Supervisor(listed, log, environment(session)).run(ready, announce)


def ask_ready(port: int) -> bool:
    """Whether `/health/ready` on 127.0.0.1 answers 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_ASK_SECONDS)
    try:
        connection.request("GET", "/health/ready")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def describe_logins(logins: object) -> list[str]:
    """One line a login and a claim code of what `manage.py demo` printed: a list of logins, or an
    object that holds both."""
    printed = logins if isinstance(logins, dict) else {"logins": logins}
    lines: list[str] = []
    for kind, name in (("logins", "login"), ("claim_codes", "to be claimed at /claim/")):
        entries = printed.get(kind)
        if isinstance(entries, list):
            lines += [
                f"{name}: " + ", ".join(f"{key} {value}" for key, value in entry.items())
                for entry in entries
                if isinstance(entry, dict)
            ]
    return lines
