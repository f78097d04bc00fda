"""PostgreSQL with TimescaleDB, and Redis: those of the machine, or unpacked from Debian's archive
into a private folder.

The packages are fetched by apt itself with a configuration of its own (an empty list of installed
packages, so that every dependency comes along, and signatures checked against Debian's keyring),
unpacked with dpkg, and their binaries are told by patchelf to use the loader and the libraries
beside them. So they run on an older Debian too, and the system is not touched.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from portal.devstack.errors import SetupError
from portal.devstack.home import Home, require_space, write_atomic

SUITE = "trixie"
PACKAGES = ("postgresql-17-timescaledb", "redis-server")
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
OLDEST_POSTGRESQL = 15
# Written last into the unpacked folder; a different text (other packages, another path) means:
# unpack again.
_STAMP = ".complete"
_LAYOUT = 1

Say = Callable[[str], None]


@dataclass(frozen=True)
class Programs:
    """Where the servers' programs are."""

    postgres_bin: Path
    postgres_version: int
    redis_server: Path


def find(home: Home, say: Say) -> Programs:
    """The programs to run, unpacked from the archive when the machine has none.

    Raises SetupError when neither the machine nor the archive has them.
    """
    local = local_postgres()
    redis = shutil.which("redis-server")
    if local is None or redis is None:
        stack = ensure_stack(home, say)
        local = local or _stack_postgres(stack)
        redis = redis or str(stack / "usr/bin/redis-server")
    folder, version = local
    return Programs(folder, version, Path(redis))


def local_postgres() -> tuple[Path, int] | None:
    """The programs and version of the newest PostgreSQL on this machine that has TimescaleDB, or
    None."""
    found: list[tuple[int, Path]] = []
    for root in Path("/usr/lib/postgresql").glob("*/bin/postgres"):
        version = root.parent.parent.name
        control = Path("/usr/share/postgresql") / version / "extension/timescaledb.control"
        if version.isdigit() and int(version) >= OLDEST_POSTGRESQL and control.exists():
            found.append((int(version), root.parent))
    if not found:
        return None
    newest, folder = max(found)
    return folder, newest


def ensure_stack(home: Home, say: Say) -> Path:
    """The folder with the unpacked packages; fetches and unpacks what an earlier set-up did not
    finish."""
    stack = home.stack
    if _is_complete(stack):
        return stack
    if "WATTLINE_STACK" in os.environ and stack.exists() and any(stack.iterdir()):
        raise SetupError(
            f"{stack} is no complete folder of servers: correct or unset WATTLINE_STACK"
        )
    require_space(home.path, 1500)
    for tool in ("apt-get", "dpkg"):
        if shutil.which(tool) is None:
            raise SetupError(
                f"{tool} is missing, so PostgreSQL with TimescaleDB and Redis cannot be brought: "
                "use a Debian-family "
                "system, or set DATABASE_URL and REDIS_URL to servers of your own"
            )
    say("fetching PostgreSQL, TimescaleDB and Redis from Debian's archive (about 100 MB)")
    archives = _download(home)
    say(f"unpacking {len(archives)} packages")
    draft = stack.with_name(stack.name + ".new")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    for archive in archives:
        _run(["dpkg", "-x", str(archive), str(draft)], "unpacking")
    _drop_documentation(draft)
    draft.chmod(
        0o755
    )  # dpkg set it to that of the packages; the servers' user must be able to enter
    _link_to_own_libraries(draft, final=stack)
    (draft / _STAMP).write_text(_stamp_text(stack), encoding="utf-8")
    shutil.rmtree(stack, ignore_errors=True)
    draft.rename(stack)
    version = _run(
        [str(_stack_postgres(stack)[0] / "postgres"), "--version"], "the unpacked server"
    )
    say(f"unpacked {version.strip()}")
    shutil.rmtree(home.path / "apt", ignore_errors=True)
    return stack


def _is_complete(stack: Path) -> bool:
    try:
        return (stack / _STAMP).read_text(encoding="utf-8") == _stamp_text(stack)
    except OSError:
        return False


def _stamp_text(stack: Path) -> str:
    return f"{_LAYOUT} {SUITE} {' '.join(PACKAGES)} {stack}\n"


def _stack_postgres(stack: Path) -> tuple[Path, int]:
    folder = next(stack.glob("usr/lib/postgresql/*/bin"))
    return folder, int(folder.parent.name)


def _download(home: Home) -> list[Path]:
    """Fetches the packages with all dependencies; apt resumes what was fetched before."""
    if not KEYRING.exists():
        raise SetupError(
            f"{KEYRING} is missing: install the package debian-archive-keyring, or set "
            "DATABASE_URL and REDIS_URL"
        )
    apt = home.path / "apt"
    for folder in ("lists/partial", "archives/partial", "etc/preferences.d"):
        (apt / folder).mkdir(parents=True, exist_ok=True)
    (apt / "status").touch()
    config = apt / "apt.conf"
    write_atomic(config, _apt_configuration(apt), 0o644)
    problems: list[str] = []
    for mirror in _mirrors():
        source = f"deb [signed-by={KEYRING}] {mirror} {SUITE} main\n"
        write_atomic(apt / "sources.list", source, 0o644)
        try:
            _apt(config, "update", "-o", "APT::Update::Error-Mode=any")
            _apt(
                config, "install", "--yes", "--no-install-recommends", "--download-only", *PACKAGES
            )
        except SetupError as error:
            problems.append(str(error))
        else:
            return sorted((apt / "archives").glob("*.deb"))
    problem = problems[0] if problems else "apt has no source"
    raise SetupError(
        f"PostgreSQL and Redis could not be fetched from Debian's archive ({problem}): check the "
        "network and the mirror in /etc/apt, or set DATABASE_URL and REDIS_URL to servers of your "
        "own"
    )


def _apt_configuration(apt: Path) -> str:
    # Dir::Etc::parts stays the system's: proxies and certificates are set up there.
    return f"""\
Dir::Etc::sourcelist "{apt}/sources.list";
Dir::Etc::sourceparts "-";
Dir::Etc::preferences "-";
Dir::Etc::preferencesparts "{apt}/etc/preferences.d";
Dir::State "{apt}";
Dir::State::status "{apt}/status";
Dir::Cache "{apt}";
Acquire::Languages "none";
Acquire::Retries "3";
Acquire::http::Timeout "20";
APT::Sandbox::User "";
APT::Get::List-Cleanup "false";
APT::Keep-Downloaded-Packages "true";
"""


def _mirrors() -> Iterator[str]:
    """The machine's own mirrors, those that look like the main archive first."""
    listed = _run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI)"], "reading apt's sources"
    ).split()
    mirrors = list(dict.fromkeys(listed))
    yield from sorted(mirrors, key=lambda mirror: bool(re.search("security|ports|ubuntu", mirror)))


def _apt(config: Path, *arguments: str) -> None:
    environment = {
        **os.environ,
        "APT_CONFIG": str(config),
        "LC_ALL": "C",
        "DEBIAN_FRONTEND": "noninteractive",
    }
    _run(["apt-get", "-q", *arguments], "apt-get", environment)


def _run(command: list[str], what: str, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        errors="replace",
        env=environment,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    if done.returncode:
        reason = _reason((done.stderr + done.stdout).splitlines())
        raise SetupError(f"{what}: {reason or f'exit code {done.returncode}'}")
    return done.stdout


def _reason(lines: list[str]) -> str:
    """The line of a program's messages that says why it failed, most telling first."""
    said = [line.strip() for line in lines if line.strip()]
    for mark in (r"Could not|Temporary failure|No space|expired|NO_PUBKEY", r"^E: ", r""):
        if found := [line for line in said if re.search(mark, line)]:
            return found[-1].removeprefix("E: ").removeprefix("W: ")
    return ""


def _drop_documentation(root: Path) -> None:
    for name in ("doc", "man", "locale", "info", "lintian", "perl"):
        shutil.rmtree(root / "usr/share" / name, ignore_errors=True)
    for folder in root.glob("usr/lib/postgresql/*/lib/bitcode"):
        shutil.rmtree(folder)
    for library in (
        *root.glob("usr/lib/*/libLLVM*"),
        *root.glob("usr/lib/*/libz3*"),
        *root.glob("usr/lib/postgresql/*/lib/llvmjit*.so"),
    ):
        library.unlink()  # 150 MB for a just-in-time compiler that is switched off


def _link_to_own_libraries(root: Path, *, final: Path) -> None:
    """Sets loader and library path of every program we run to those in `final`, where `root` is
    going to be."""
    tool = _patchelf()
    folders = [*root.glob("usr/lib/postgresql/*/bin"), root / "usr/bin"]
    programs = [file for folder in folders for file in folder.iterdir() if _wanted(file)]
    loader = _run([tool, "--print-interpreter", str(programs[0])], "patchelf").strip().lstrip("/")
    if not (root / "usr" / loader).exists():
        raise SetupError(
            f"the packages for this machine have no {loader}: set DATABASE_URL and REDIS_URL to "
            "servers of your own"
        )
    libraries = ":".join(
        str(final / folder.relative_to(root)) for folder in root.glob("usr/lib/*-linux-*")
    )
    link = [
        "--set-interpreter",
        str(final / "usr" / loader),
        "--force-rpath",
        "--set-rpath",
        libraries,
    ]
    _run([tool, *link, *map(str, programs)], "patchelf")


def _wanted(file: Path) -> bool:
    if file.is_symlink() or not (
        file.parent.parent.parent.name == "postgresql" or file.name.startswith("redis-")
    ):
        return False
    with file.open("rb") as content:
        return content.read(4) == b"\x7fELF"


def _patchelf() -> str:
    beside = Path(sys.executable).parent / "patchelf"
    if beside.exists():
        return str(beside)
    found = shutil.which("patchelf")
    if found is None:
        raise SetupError(
            "patchelf is missing: install requirements.txt into this Python, or run `make up`"
        )
    return found
