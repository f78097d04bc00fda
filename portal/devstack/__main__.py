"""`python -m portal.devstack …`: what the Makefile calls."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import sys
from pathlib import Path

from portal.devstack.errors import SetupError
from portal.devstack.home import Home, current, explain_os_error
from portal.devstack.keeper import keep
from portal.devstack.packages import Programs
from portal.devstack.servers import (
    Session,
    in_use,
    open_session,
    running,
    set_persistent,
    wait_stopped,
)


def main(arguments: list[str] | None = None) -> int:
    """Runs one command and returns its exit code; an expected failure is one sentence."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except SetupError as error:
        print(f"wattline: {error}", file=sys.stderr)
    except OSError as error:
        print(f"wattline: {explain_os_error(error, Path(error.filename or '.'))}", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m portal.devstack", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")
    commands.add_parser(
        "servers", help="bring PostgreSQL and Redis up and leave them running"
    ).set_defaults(run=_servers)
    commands.add_parser("stop", help="stop PostgreSQL and Redis").set_defaults(run=_stop)
    commands.add_parser("status", help="say what runs").set_defaults(run=_status)
    commands.add_parser("env", help="print the addresses as export lines for a shell").set_defaults(
        run=_env
    )
    keeper = commands.add_parser("keep")
    keeper.add_argument("wanted", nargs="+", choices=["postgres", "redis"])
    keeper.add_argument("--home", type=Path, required=True)
    keeper.add_argument("--report", type=int, required=True)
    keeper.add_argument("--postgres-bin", type=Path, required=True)
    keeper.add_argument("--postgres-version", type=int, required=True)
    keeper.add_argument("--redis-server", type=Path, required=True)
    keeper.set_defaults(run=_keep)
    return parser


def _say(line: str) -> None:
    print(f"wattline: {line}", file=sys.stderr, flush=True)


def _servers(_options: argparse.Namespace) -> int:
    _open_persistent().close()
    return _status(_options)


def _open_persistent() -> Session:
    session = open_session(_say)
    set_persistent(session.home, persistent=True)
    return session


def _stop(_options: argparse.Namespace) -> int:
    home = current()
    state = running(home)
    if not state:
        print("the servers are down")
        return 0
    set_persistent(home, persistent=False)
    if in_use(home):
        print("the servers are in use by a running command and stop with it")
        return 0
    pid = state.get("pid")
    if isinstance(pid, int):
        os.kill(pid, signal.SIGTERM)
    if not wait_stopped(home):
        raise SetupError(f"the servers did not stop within 40 s: see {home.log}")
    print("the servers are down")
    return 0


def _status(_options: argparse.Namespace) -> int:
    home = current()
    state = running(home)
    if not state:
        print(f"the servers of {home.path} are down")
        return 3
    for name in ("postgres", "redis"):
        if name in state:
            print(f"{name} runs on 127.0.0.1:{state[name]}")
    return 0


def _env(_options: argparse.Namespace) -> int:
    session = _open_persistent()
    for name, value in {
        "WATTLINE_HOME": str(session.home.path),
        **session.endpoints.variables(),
    }.items():
        print(f"export {name}={shlex.quote(value)}")
    session.close()
    return 0


def _keep(options: argparse.Namespace) -> int:
    programs = Programs(options.postgres_bin, options.postgres_version, options.redis_server)
    return keep(Home(options.home), programs, options.wanted, options.report)


if __name__ == "__main__":
    sys.exit(main())
