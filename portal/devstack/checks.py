"""`make test`: every check of the repository, a table of the outcome, one exit code.

Checks that keep one processor busy at most run beside the longest step, which has the terminal;
what they say comes when they have ended.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from portal import env
from portal.devstack import certificates, chromium, frontend, languages
from portal.devstack.errors import SetupError
from portal.devstack.scratch import open_scratch
from portal.devstack.servers import open_session
from portal.devstack.up import collect_static

_NO_TESTS_COLLECTED = 5
# What a server on the internet would say, so that `check --deploy` has something to check.
_DEPLOYED = {
    "WATTLINE_HTTPS": "yes",
    "DEBUG": "no",
    "ALLOWED_HOSTS": "portal.example.org",
    "CSRF_TRUSTED_ORIGINS": "https://portal.example.org",
}
# Run apart: real browsers, servers that are killed under load, and what needs the whole machine.
_APART = "serial or crash or browser"


@dataclass(frozen=True)
class Step:
    """One command.

    `live` shows its output, else it is shown only when it fails. `beside` runs it while the first
    step without goes on; its output waits for its end, so that lines of two never mix.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    live: bool = False
    beside: bool = False
    good_codes: frozenset[int] = frozenset({0})


@dataclass(frozen=True)
class Outcome:
    """How a step ended; `note` is a sentence for the table."""

    name: str
    passed: bool
    seconds: float
    note: str = ""


def lint_steps() -> list[Step]:
    """Checks that read files only."""
    ruff = _tool("ruff")
    return [
        Step("ruff check", [*ruff, "check", "--quiet", "."], beside=True),
        Step("ruff format", [*ruff, "format", "--check", "--quiet", "."], beside=True),
        Step("types", [sys.executable, "-m", "mypy", "--no-error-summary", "."], beside=True),
        Step("import contracts", [*_tool("lint-imports"), "--no-cache"], beside=True),
        Step("templates", [*_tool("djade"), "--check", *_templates()], beside=True),
    ]


def test_steps(pytest_arguments: Sequence[str]) -> list[Step]:
    """Checks that run the product."""
    manage = [sys.executable, "manage.py"]
    pytest = [sys.executable, "-m", "pytest", *pytest_arguments]
    none_is_fine = frozenset({0, _NO_TESTS_COLLECTED})
    return [
        Step("migrations", [*manage, "makemigrations", "--check", "--dry-run"], beside=True),
        Step(
            "deployment",
            [*manage, "check", "--deploy", "--fail-level", "WARNING"],
            environment=_DEPLOYED,
            beside=True,
        ),
        Step(
            "JavaScript", [*frontend.find_node().node, "--test", *_javascript_tests()], beside=True
        ),
        Step("pytest, side by side", [*pytest, "-n", "2", "-m", f"not ({_APART})"], live=True),
        Step(
            "pytest, crashes",
            # More workers than processors: they wait for processes and time-outs more than they
            # work. Not beside the others, whose own patience is for a machine of their own.
            [
                *[*pytest, *_only("crash"), "-m", "crash and not serial"],
                *["-n", "3", "--dist", "loadfile"],
            ],
            live=True,
            good_codes=none_is_fine,
        ),
        Step(
            "pytest, serial",
            [*pytest, *_only("serial"), "-m", "serial"],
            live=True,
            good_codes=none_is_fine,
        ),
        Step(
            "pytest, browser",
            # A file shares one product. In the order of their names, because the longest is early;
            # by their numbers of tests it would come last and be waited for.
            [
                *[*pytest, *_only("browser"), "-m", "browser"],
                *["-n", "2", "--dist", "loadfile", "--no-loadscope-reorder"],
            ],
            live=True,
            good_codes=none_is_fine,
        ),
    ]


def run_tests(pytest_arguments: Sequence[str]) -> int:
    """Sets up what the checks need, runs all of them, prints the table; 1 when anything failed."""
    with open_session(_say) as session:
        home = session.home
        frontend.ensure(home, _say)
        languages.compile_all()
        certificates.ensure(home, _say)
        browser = chromium.install(_say)
        if browser is None:
            _say(f"the browser tests are skipped: {chromium.HOW_TO_GET}")
        scratch = open_scratch(session)
        try:
            environment = {**os.environ, **scratch.environment()}
            try:
                scratch.create_database()
                collect_static(session, _say)
            except SetupError as error:  # the checks below say more, so they still run
                _say(str(error))

            def run(step: Step) -> Outcome:
                # Tests take databases of their own: the addresses of ours must not lead them here.
                own = os.environ if step.live else environment
                return run_step(step, {**own, "WATTLINE_HOME": str(home.path)})

            outcomes = run_steps([*lint_steps(), *test_steps(pytest_arguments)], run)
        finally:
            scratch.close()
    return report(outcomes)


def run_lint() -> int:
    """The checks that read files only."""
    with open_session(_say) as session:
        scratch = open_scratch(session)
        try:
            environment = {**os.environ, **scratch.environment()}
            return report([run_step(step, environment) for step in lint_steps()])
        finally:
            scratch.close()


def run_steps(steps: Sequence[Step], run: Callable[[Step], Outcome]) -> list[Outcome]:
    """Runs all of them, and tells how they ended in the order of `steps`.

    Those `beside` run one after another beside the first of the others, which it waits for; then
    come the rest, each alone. An interrupt leaves out what has not begun.
    """
    with_terminal = [step for step in steps if not step.beside]
    ended: dict[str, Outcome] = {}
    pool = ThreadPoolExecutor(max_workers=1)
    try:
        waiting = [pool.submit(run, step) for step in steps if step.beside]
        for step in with_terminal[:1]:
            ended[step.name] = run(step)
        ended |= {outcome.name: outcome for outcome in (one.result() for one in waiting)}
        for step in with_terminal[1:]:
            ended[step.name] = run(step)
    finally:
        pool.shutdown(cancel_futures=True)
    return [ended[step.name] for step in steps]


def run_step(step: Step, environment: Mapping[str, str]) -> Outcome:
    """Runs one step in the checkout; its output is shown when it fails or is `live`."""
    title = f"\n== {step.name}"
    if not step.beside:
        print(title, flush=True)
    streams = step.live and not step.beside
    began = time.monotonic()
    try:
        done = subprocess.run(
            step.command,
            cwd=env.CHECKOUT,
            env={**environment, **step.environment},
            stdin=subprocess.DEVNULL,
            stdout=None if streams else subprocess.PIPE,
            stderr=None if streams else subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
    except FileNotFoundError as error:
        print(f"{error.filename} is not installed: run `make up`, or install requirements.txt")
        return Outcome(step.name, passed=False, seconds=0.0, note="not installed")
    seconds = time.monotonic() - began
    passed = done.returncode in step.good_codes
    if done.stdout and (step.live or not passed):
        heading = f"{title}\n" if step.beside else ""
        print(f"{heading}{done.stdout.rstrip()}", flush=True)
    note = "" if passed else f"exit code {done.returncode}"
    return Outcome(step.name, passed, seconds, note)


def report(outcomes: Sequence[Outcome]) -> int:
    """Prints the table; 1 when a step failed."""
    width = max(len(outcome.name) for outcome in outcomes)
    print(f"\n{'check':<{width}}  result  seconds")
    for outcome in outcomes:
        result = "ok" if outcome.passed else "FAILED"
        print(
            f"{outcome.name:<{width}}  {result:<6}  {outcome.seconds:7.1f}  {outcome.note}".rstrip()
        )
    failed = sum(not outcome.passed for outcome in outcomes)
    total = sum(outcome.seconds for outcome in outcomes)
    verdict = f"{failed} of {len(outcomes)} checks failed" if failed else "all checks passed"
    print(f"{verdict} in {total:.0f} s", flush=True)
    return 1 if failed else 0


def format_files() -> int:
    """Brings code and templates into the repository's format."""
    ruff = _tool("ruff")
    commands = [[*ruff, "check", "--fix", "--quiet", "."], [*ruff, "format", "--quiet", "."]]
    codes = [
        subprocess.run(command, cwd=env.CHECKOUT, check=False).returncode for command in commands
    ]
    subprocess.run([*_tool("djade"), *_templates()], cwd=env.CHECKOUT, check=False)
    return max(codes)


def _only(mark: str) -> list[str]:
    """Collecting all tests for these few would take longer than many of them."""
    return ["--only-files-marked", mark]


def _tool(name: str) -> list[str]:
    return [str(Path(sys.executable).parent / name)]


def _templates() -> list[str]:
    found = sorted((env.CHECKOUT / "templates").rglob("*.html"))
    return [str(file.relative_to(env.CHECKOUT)) for file in found]


def _javascript_tests() -> list[str]:
    found = sorted((env.CHECKOUT / "static" / "js" / "tests").rglob("*.test.*js"))
    return [str(file.relative_to(env.CHECKOUT)) for file in found]


def _say(line: str) -> None:
    print(f"wattline: {line}", file=sys.stderr, flush=True)
