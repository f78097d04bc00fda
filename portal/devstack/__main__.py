"""`python -m portal.devstack …`: what the Makefile calls."""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from portal.devstack import checks, frontend, languages
from portal.devstack.errors import SetupError
from portal.devstack.home import Home, current, explain_os_error
from portal.devstack.keeper import keep
from portal.devstack.lease import running, set_persistent, stop
from portal.devstack.packages import Programs
from portal.devstack.servers import Session, open_session
from portal.devstack.up import environment, up
from portal.env import CHECKOUT, SettingError

Run = Callable[[argparse.Namespace], int]


def main(arguments: list[str] | None = None) -> int:
    """Runs one command and returns its exit code; an expected failure is one sentence."""
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        return int(options.run(options))
    except (SetupError, SettingError) as error:
        print(f"wattline: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("wattline: stopped", file=sys.stderr)
        return 130
    except OSError as error:
        print(f"wattline: {explain_os_error(error, Path(error.filename or '.'))}", file=sys.stderr)
    return 1


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt  # so that everything that is open is closed


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m portal.devstack", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")
    plain: dict[str, tuple[Run, str]] = {
        "up": (_up, "run everything"),
        "lint": (_lint, "run the checks that only read files"),
        "format": (_format, "format code and templates"),
        "messages": (_messages, "bring the catalogues of translations to the texts"),
        "vendor": (_vendor, "make the files under static/vendor and the binary catalogues"),
        "servers": (_servers, "bring PostgreSQL and Redis up and leave them running"),
        "stop": (_stop, "stop PostgreSQL and Redis"),
        "status": (_status, "say what runs"),
        "env": (_env, "print the addresses as export lines for a shell"),
    }
    for name, (run, explanation) in plain.items():
        commands.add_parser(name, help=explanation).set_defaults(run=run)
    passing_on: tuple[tuple[str, Run, str], ...] = (
        ("test", _test, "run every check; arguments go to pytest"),
        ("bench", _bench, "run every benchmark; arguments go to `manage.py bench all`"),
        ("screenshots", _screenshots, "take pictures of every page into screenshots/"),
    )
    for name, run, explanation in passing_on:
        passing = commands.add_parser(name, help=explanation)
        passing.add_argument("arguments", nargs="*")
        passing.set_defaults(run=run)
    keeper = commands.add_parser("keep")
    keeper.add_argument("wanted", nargs="+", choices=["postgres", "redis"])
    keeper.add_argument("--home", type=Path, required=True)
    keeper.add_argument("--report", type=int, required=True)
    keeper.add_argument("--postgres-bin", type=Path, required=True)
    keeper.add_argument("--postgres-version", type=int, required=True)
    keeper.add_argument("--redis-server", type=Path, required=True)
    keeper.set_defaults(run=_keep)
    return parser


def _up(_options: argparse.Namespace) -> int:
    return up()


def _test(options: argparse.Namespace) -> int:
    return checks.run_tests(options.arguments)


def _lint(_options: argparse.Namespace) -> int:
    return checks.run_lint()


def _format(_options: argparse.Namespace) -> int:
    return checks.format_files()


def _vendor(_options: argparse.Namespace) -> int:
    frontend.make_files()
    languages.compile_all()
    return 0


def _bench(options: argparse.Namespace) -> int:
    return _manage("bench", "all", "--json", *options.arguments)


def _screenshots(options: argparse.Namespace) -> int:
    return _manage("screenshots", *options.arguments)


def _manage(*arguments: str) -> int:
    """Run a management command with the servers up; returns its exit code."""
    with open_session(_say) as session:
        command = [sys.executable, "manage.py", *arguments]
        return subprocess.run(
            command, cwd=CHECKOUT, env=environment(session), check=False
        ).returncode


def _say(line: str) -> None:
    print(f"wattline: {line}", file=sys.stderr, flush=True)


def _messages(_options: argparse.Namespace) -> int:
    languages.update_all()
    languages.compile_all()
    for finding in languages.check():
        print(f"{finding.language}: {finding.text}")
    return 0


def _servers(_options: argparse.Namespace) -> int:
    _open_persistent().close()
    return _status(_options)


def _open_persistent() -> Session:
    session = open_session(_say)
    set_persistent(session.home, persistent=True)
    return session


def _stop(_options: argparse.Namespace) -> int:
    if stop(current()):
        print("the servers are down")
    else:
        print("the servers are in use by a running command and stop with it")
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
    if os.fork():  # whoever starts us need not collect us
        os._exit(0)
    programs = Programs(options.postgres_bin, options.postgres_version, options.redis_server)
    return keep(Home(options.home), programs, options.wanted, options.report)


if __name__ == "__main__":
    sys.exit(main())
