"""Embedded servers in homes of their own: set-up, sharing, and an end that leaves nothing."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import redis

from portal import env
from portal.devstack import lease, packages
from portal.devstack.errors import SetupError
from portal.devstack.home import Home, current, require_space
from portal.devstack.scratch import migrate
from portal.devstack.servers import Endpoints, Session, make_private, open_session

pytestmark = pytest.mark.crash

ADDRESSES = ("DATABASE_URL", "DATABASE_APP_URL", "DATABASE_INGEST_URL", "REDIS_URL")
PATIENCE_SECONDS = 30.0

HOLDER = """
import sys, time
from pathlib import Path
from portal.devstack.home import Home
from portal.devstack.servers import open_session
session = open_session(print, Home(Path(sys.argv[1])))
print("holding", flush=True)
time.sleep(600)
"""


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """An empty home whose servers come from the packages that the tests use anyway."""
    mine = current()
    packages.find(mine, print)
    monkeypatch.setenv("WATTLINE_STACK", str(mine.stack))
    for name in ADDRESSES:
        monkeypatch.delenv(name, raising=False)
    # Not pytest's temporary folder: the servers' user cannot enter that of root.
    made = Home(mine.path / "tests" / f"home-{os.getpid()}")
    made.prepare()
    yield made
    lease.stop(made)
    shutil.rmtree(made.path)


@pytest.fixture
def hold() -> Iterator[Callable[[Home], subprocess.Popen[str]]]:
    """Starts processes that use the servers of a home."""
    started: list[subprocess.Popen[str]] = []

    def start(home: Home) -> subprocess.Popen[str]:
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(home.path)],
            cwd=env.CHECKOUT,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(holder)
        assert holder.stdout is not None
        while "holding" not in (line := holder.stdout.readline()):
            assert line, "the process ended before it had the servers"
        return holder

    yield start
    for holder in started:
        holder.kill()
        holder.communicate()


def test_session_brings_up_all_roles_and_redis(home: Home) -> None:
    with open_session(print, home) as session:
        assert answers(session) == ["wattline_owner", "wattline_app", "wattline_ingest", "PONG"]
    wait_until(lambda: servers_of(home) == [])


def test_session_uses_the_same_ports_and_data_again(home: Home) -> None:
    with (
        open_session(print, home) as first,
        psycopg.connect(first.endpoints.database_url) as connection,
    ):
        connection.execute("CREATE TABLE kept AS SELECT 1 AS one")
    assert lease.wait_stopped(home)
    with open_session(print, home) as second:
        assert second.endpoints == first.endpoints
        with psycopg.connect(second.endpoints.database_url) as connection:
            assert connection.execute("SELECT one FROM kept").fetchone() == (1,)


def test_half_made_cluster_is_made_again(home: Home) -> None:
    draft = home.path / "postgres" / "data.new"
    draft.mkdir(parents=True)
    (draft / "PG_VERSION").write_text("17\n", encoding="ascii")
    (draft / "postmaster.pid").write_text("1\n", encoding="ascii")
    with open_session(print, home) as session:
        assert answers(session)[0] == "wattline_owner"
    assert not draft.exists()


def test_servers_start_after_a_crash_whose_process_number_is_taken(home: Home) -> None:
    with open_session(print, home):
        pass
    assert lease.wait_stopped(home)
    lock = home.path / "postgres" / "data" / "postmaster.pid"
    lock.write_text(f"{os.getpid()}\n{lock.parent}\n", encoding="ascii")
    with open_session(print, home) as session:
        assert answers(session)[0] == "wattline_owner"


def test_incomplete_shared_packages_are_refused(
    home: Home, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "usr").mkdir()
    monkeypatch.setenv("WATTLINE_STACK", str(tmp_path))
    with pytest.raises(SetupError, match="correct or unset WATTLINE_STACK"):
        packages.ensure_stack(home, print)


def test_servers_stay_until_the_last_user_leaves(
    home: Home, hold: Callable[[Home], subprocess.Popen[str]]
) -> None:
    session = open_session(print, home)
    other = hold(home)
    session.close()
    assert lease.stop(home) is False
    assert answers(session)[3] == "PONG"
    other.kill()
    wait_until(lambda: servers_of(home) == [])


def test_servers_end_when_their_only_user_is_killed(
    home: Home, hold: Callable[[Home], subprocess.Popen[str]]
) -> None:
    holder = hold(home)
    assert len(servers_of(home)) >= 3  # keeper, PostgreSQL, Redis
    holder.kill()
    wait_until(lambda: servers_of(home) == [])


def test_servers_end_when_their_keeper_is_killed(
    home: Home, hold: Callable[[Home], subprocess.Popen[str]]
) -> None:
    hold(home)
    keeper = lease.running(home)["pid"]
    assert isinstance(keeper, int)
    os.kill(keeper, signal.SIGKILL)
    wait_until(lambda: servers_of(home) == [])


def test_killed_redis_is_started_again(home: Home) -> None:
    with open_session(print, home) as session:
        with redis.Redis.from_url(session.endpoints.redis_url) as client:
            os.kill(int(client.info("server")["process_id"]), signal.SIGKILL)
        wait_until(lambda: redis_answers(session))


def test_secrets_are_for_their_owner_alone(home: Home) -> None:
    with open_session(print, home):
        files = [*home.secrets.iterdir(), home.path / "servers.env"]
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in files}
        redis_config = home.path / "redis" / "redis.conf"
        assert stat.S_IMODE(redis_config.stat().st_mode) == 0o600
    assert stat.S_IMODE(home.secrets.stat().st_mode) == 0o700
    assert modes == {
        "postgres_admin": 0o600,
        "postgres_app": 0o600,
        "postgres_ingest": 0o600,
        "postgres_owner": 0o600,
        "redis": 0o600,
        "secret_key": 0o600,
        "servers.env": 0o600,
    }


def test_lost_secrets_are_one_sentence(home: Home) -> None:
    with open_session(print, home):
        pass
    assert lease.wait_stopped(home)
    (home.secrets / "postgres_admin").unlink()
    with pytest.raises(SetupError, match="restore that folder, or remove both to start anew"):
        open_session(print, home)
    wait_until(lambda: servers_of(home) == [])


def test_database_of_ones_own_gets_the_roles(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    own = make_private(home.path / "theirs", home)
    own.start()
    try:
        with own.postgres.connect_admin(own.credentials.admin, "postgres") as connection:
            connection.execute("CREATE ROLE theirs SUPERUSER LOGIN PASSWORD 'theirs'")
            remove_ours(connection)
            connection.execute("CREATE DATABASE theirs OWNER theirs")
        url = f"postgresql://theirs:theirs@127.0.0.1:{own.postgres.port}/theirs"
        monkeypatch.setenv("DATABASE_URL", url)
        with open_session(print, home) as session:
            assert answers(session)[:3] == ["wattline_owner", "wattline_app", "wattline_ingest"]
            with psycopg.connect(session.endpoints.database_url) as connection:
                connection.execute("CREATE TABLE made_by_owner (at timestamptz NOT NULL)")
                connection.execute("SELECT create_hypertable('made_by_owner', 'at')")
        with open_session(print, home) as again:
            assert again.endpoints == session.endpoints
    finally:
        own.stop()


def test_deployment_script_makes_what_the_product_needs(home: Home) -> None:
    own = make_private(home.path / "theirs", home)
    own.start()
    try:
        with own.postgres.connect_admin(own.credentials.admin, "postgres") as connection:
            remove_ours(connection)
        port = own.postgres.port
        names = ("owner", "app", "ingest")
        subprocess.run(
            [
                str(packages.find(home, print).postgres_bin / "psql"),
                *("--no-psqlrc", "--quiet", "--file", str(env.CHECKOUT / "deploy/roles.sql")),
                f"postgresql://wattline_admin:{own.credentials.admin}@127.0.0.1:{port}/postgres",
            ],
            env={**os.environ, **{f"WATTLINE_{name.upper()}_PASSWORD": name for name in names}},
            check=True,
        )
        owner, app, ingest = (
            f"postgresql://wattline_{name}:{name}@127.0.0.1:{port}/wattline" for name in names
        )
        migrate(Endpoints(owner, app, ingest, "redis://127.0.0.1:1"), home)
        with psycopg.connect(app) as connection:
            row = connection.execute("SELECT current_user::text").fetchone()
            assert row == ("wattline_app",)
    finally:
        own.stop()


def test_database_that_does_not_answer_is_one_sentence(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    with pytest.raises(SetupError, match=r"does not answer .*: correct or unset DATABASE_URL"):
        open_session(print, home)


def test_full_disk_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match=r"^only \d+ MB are free on the disk of .*free some space"):
        require_space(tmp_path, 10**12)


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"WATTLINE_HOME": "/proc/wattline"}, "set WATTLINE_HOME to a folder that can be used"),
        ({"WATTLINE_HOME": "/dev/null"}, "set WATTLINE_HOME to a folder that can be used"),
        ({"DATABASE_URL": "mysql://x"}, "correct or unset DATABASE_URL"),
    ],
)
def test_command_line_failures_are_one_sentence(
    home: Home, variables: dict[str, str], sentence: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "portal.devstack", "servers"],
        cwd=env.CHECKOUT,
        env={**os.environ, "WATTLINE_HOME": str(home.path), **variables},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("wattline: ")
    assert done.stderr.splitlines()[-1].endswith(sentence)
    assert "Traceback" not in done.stderr


def remove_ours(connection: psycopg.Connection) -> None:
    """Makes a private server one that knows nothing of the product."""
    connection.execute("ALTER DATABASE wattline_template IS_TEMPLATE false")
    for database in ("wattline", "wattline_template"):
        connection.execute(f"DROP DATABASE {database}")
    for role in ("wattline_owner", "wattline_app", "wattline_ingest"):
        connection.execute(f"DROP ROLE {role}")


def answers(session: Session) -> list[str]:
    """Who we are for each database URL, and what Redis says."""
    urls = session.endpoints
    found = []
    for url in (urls.database_url, urls.database_app_url, urls.database_ingest_url):
        with psycopg.connect(url) as connection:
            row = connection.execute("SELECT current_user::text").fetchone()
            assert row is not None
            found.append(str(row[0]))
    return [*found, "PONG" if redis_answers(session) else "silence"]


def redis_answers(session: Session) -> bool:
    try:
        with redis.Redis.from_url(session.endpoints.redis_url) as client:
            return bool(client.ping())
    except redis.ConnectionError:
        return False


def servers_of(home: Home) -> list[bytes]:
    """Command lines of living processes that name the home, without those of the tests."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes()
                folder = (entry / "cwd").readlink()  # Redis hides its command line
            except OSError:
                continue
            ours = os.fsencode(home.path) in line or folder.is_relative_to(home.path)
            if ours and HOLDER.encode() not in line:
                found.append(line)
    return found


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true"
        time.sleep(0.05)
