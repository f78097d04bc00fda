"""The pieces of `make up` and `make test`: ports, one copy a home, certificates, the table."""

from __future__ import annotations

import datetime as dt
import os
import socket
import ssl
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from portal import env
from portal.devstack import bootstrap, certificates, checks, processes
from portal.devstack.checks import Outcome, Step
from portal.devstack.errors import SetupError
from portal.devstack.home import Home
from portal.devstack.up import describe_logins, only_one, require_port_free

YEAR = dt.timedelta(days=365)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home without servers."""
    made = Home(tmp_path / "home")
    for folder in (made.path, made.run, made.secrets):
        folder.mkdir()
    return made


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_taken_port_is_one_sentence(taken_port: int) -> None:
    with pytest.raises(SetupError) as caught:
        require_port_free(taken_port, "WATTLINE_PORT")
    assert str(caught.value) == (
        f"port {taken_port} is taken by another program: set WATTLINE_PORT to a free one, or end it"
    )


def test_free_port_is_accepted(taken_port: int) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        free = probe.getsockname()[1]
    require_port_free(free, "WATTLINE_PORT")


def test_second_copy_on_the_same_home_is_refused(home: Home) -> None:
    refused = r"^`make up` runs on .* already \(process \d+\): end it with Ctrl-C, or set WATTLINE"
    with only_one(home), pytest.raises(SetupError, match=refused), only_one(home):
        pass
    with only_one(home):
        pass


@pytest.mark.parametrize(
    ("variable", "value"),
    [("WATTLINE_PORT", "many"), ("WATTLINE_BRIDGE_PORT", "70000"), ("WATTLINE_PORT", "0")],
)
def test_bad_port_is_one_sentence(variable: str, value: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "portal.devstack", "up"],
        cwd=env.CHECKOUT,
        env={**os.environ, variable: value},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith(f"wattline: {variable} is ")
    assert len(done.stderr.splitlines()) == 1


def test_certificates_are_accepted_by_a_device_that_pins_the_authority(home: Home) -> None:
    folder = certificates.ensure(home, print)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(folder / "bridge.pem", folder / "bridge.key")
    device = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    for name in ("localhost", "127.0.0.1", socket.gethostname()):
        near, far = socket.socketpair()
        failures: list[OSError] = []

        def serve(far: socket.socket = far, failures: list[OSError] = failures) -> None:
            try:
                server.wrap_socket(far, server_side=True).close()
            except OSError as error:
                failures.append(error)

        thread = threading.Thread(target=serve)
        thread.start()
        with device.wrap_socket(near, server_hostname=name) as connection:
            assert connection.version() == "TLSv1.3"
        thread.join()
        assert failures == []


def test_certificates_are_kept_and_the_keys_private(home: Home) -> None:
    folder = certificates.ensure(home, print)
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    certificates.ensure(home, print)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before
    keys = [folder / "bridge.key", home.secrets / "ca.key"]
    assert [stat.S_IMODE(key.stat().st_mode) for key in keys] == [0o600, 0o600]


def test_certificate_is_renewed_by_the_same_authority(home: Home) -> None:
    folder = certificates.ensure(home, print)
    authority, old = (folder / "ca.pem").read_bytes(), (folder / "bridge.pem").read_bytes()
    certificates.ensure(home, print, now=dt.datetime.now(dt.UTC) + 1.05 * YEAR)
    assert (folder / "ca.pem").read_bytes() == authority
    assert (folder / "bridge.pem").read_bytes() != old


def test_authority_is_renewed_before_it_ends(home: Home) -> None:
    folder = certificates.ensure(home, print)
    authority = (folder / "ca.pem").read_bytes()
    certificates.ensure(home, print, now=dt.datetime.now(dt.UTC) + 9.5 * YEAR)
    assert (folder / "ca.pem").read_bytes() != authority


def test_half_written_certificates_are_made_again(home: Home) -> None:
    folder = certificates.ensure(home, print)
    (folder / "bridge.pem").write_text("-----BEGIN", encoding="ascii")
    certificates.ensure(home, print)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "bridge.pem", folder / "bridge.key")


def test_processes_are_those_that_readiness_asks_for(home: Home) -> None:
    running = processes.product(home, 8000)
    names = [process.name for process in running if not process.errand]
    assert names == ["web", "worker", "beat", "writer", "live", "dispatcher", "bridge", "simulate"]
    assert [process.name for process in running if process.errand] == ["demo"]


def test_logins_are_one_line_each() -> None:
    entry = {"tenant": "Fjord Retail", "user": "anna@fjord.example", "password": "secret"}
    line = "login: tenant Fjord Retail, user anna@fjord.example, password secret"
    assert describe_logins({"logins": [entry, entry]}) == [line, line]
    assert describe_logins([entry]) == [line]
    code = {"code": "AAAA-BBBB-CCCC-DDDD", "device": "WL-1"}
    assert describe_logins({"logins": [entry], "claim_codes": [code]}) == [
        line, "to be claimed at /claim/: code AAAA-BBBB-CCCC-DDDD, device WL-1",
    ]  # fmt: skip
    assert describe_logins("none") == []


def test_failed_step_shows_its_output(capfd: pytest.CaptureFixture[str]) -> None:
    step = Step("broken", [sys.executable, "-c", "print('the reason'); raise SystemExit(3)"])
    outcome = checks.run_step(step, {})
    assert (outcome.passed, outcome.note) == (False, "exit code 3")
    assert "the reason" in capfd.readouterr().out


def test_passed_step_is_quiet(capfd: pytest.CaptureFixture[str]) -> None:
    outcome = checks.run_step(Step("fine", [sys.executable, "-c", "print('chatter')"]), {})
    assert outcome.passed
    assert "chatter" not in capfd.readouterr().out


def test_missing_tool_fails_the_step(capfd: pytest.CaptureFixture[str]) -> None:
    outcome = checks.run_step(Step("absent", ["/no/such/tool"]), {})
    assert (outcome.passed, outcome.note) == (False, "not installed")
    assert "install requirements.txt" in capfd.readouterr().out


def test_step_beside_others_tells_everything_at_its_end(
    capfd: pytest.CaptureFixture[str],
) -> None:
    words = [sys.executable, "-c", "print('53 passed')"]
    assert checks.run_step(Step("crashes", words, live=True, beside=True), {}).passed
    assert capfd.readouterr().out == "\n== crashes\n53 passed\n"


def test_steps_beside_run_while_the_first_other_does_and_the_rest_alone() -> None:
    steps = [
        *(Step(name, [], beside=True) for name in ("a", "b")),
        *(Step(name, []) for name in ("long", "alone", "last")),
    ]
    begun = {step.name: threading.Event() for step in steps}
    order: list[str] = []

    def run(step: Step) -> Outcome:
        begun[step.name].set()
        # Each of the two rows goes on when the other has come this far.
        assert {"a": begun["long"], "long": begun["b"]}.get(step.name, begun[step.name]).wait(30)
        order.append(step.name)
        return Outcome(step.name, passed=True, seconds=0.0)

    outcomes = checks.run_steps(steps, run)
    assert [outcome.name for outcome in outcomes] == ["a", "b", "long", "alone", "last"]
    assert (order[0], set(order[1:3]), order[3:]) == ("a", {"b", "long"}, ["alone", "last"])


def test_table_names_every_step_and_fails_when_one_failed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    fine, broken = Outcome("fine", True, 1.25), Outcome("broken", False, 61.0, "exit code 1")
    assert checks.report([fine]) == 0
    assert "all checks passed in 1 s" in capsys.readouterr().out
    assert checks.report([fine, broken]) == 1
    assert capsys.readouterr().out.splitlines() == [
        "",
        "check   result  seconds",
        "fine    ok          1.2",
        "broken  FAILED     61.0  exit code 1",
        "1 of 2 checks failed in 62 s",
    ]


def test_a_machine_without_a_compiler_goes_without_what_is_compiled(
    capsys: pytest.CaptureFixture[str],
) -> None:
    bootstrap._install_compiled([sys.executable, "-c", "raise SystemExit('no compiler')"])
    told = capsys.readouterr().err
    assert "going on without patches between firmware images" in told
    assert "no compiler" in told
