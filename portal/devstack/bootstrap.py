"""The first step of every `make` target: a virtual environment with the packages, then the command
in it.

Runs with the system's Python and the standard library alone.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from portal import env
from portal.devstack.errors import SetupError
from portal.devstack.home import Home, current, explain_os_error, require_space, write_atomic

OLDEST_PYTHON = (3, 11)
COMPILED = "requirements-compiled.txt"


def main(arguments: list[str]) -> int:  # noqa: RET503 (the last statement never returns)
    """Hands over to `python -m portal.devstack ARGUMENTS` in the environment; returns on failure
    alone."""
    try:
        _require_python()
        home = current()
        with home.lock("environment"):
            python = ensure_environment(home)
    except SetupError as error:
        print(f"wattline: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"wattline: {explain_os_error(error, Path(error.filename or '.'))}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    sys.stdout.flush()
    os.environ["WATTLINE_HOME"] = str(home.path)
    os.execv(python, [str(python), "-m", "portal.devstack", *arguments])


def _require_python() -> None:
    if sys.version_info < OLDEST_PYTHON:
        raise SetupError(
            f"Python {OLDEST_PYTHON[0]}.{OLDEST_PYTHON[1]} or newer is needed and this is "
            f"{sys.version.split()[0]}: run make with PYTHON=python3.11 (or newer)"
        )


def ensure_environment(home: Home) -> Path:
    """The Python of the environment; made anew when the requirements or the system's Python
    changed.

    `WATTLINE_VENV` names an environment that is ready, to be used as it is.
    """
    if ready := os.environ.get("WATTLINE_VENV"):
        return Path(ready) / "bin" / "python"
    folder = home.path / "venv"
    python = folder / "bin" / "python"
    stamp = folder / ".complete"
    wanted = _fingerprint(folder)
    if stamp.exists() and stamp.read_text(encoding="utf-8") == wanted and python.exists():
        return python
    require_space(home.path, 1500)
    print("wattline: making a virtual environment", file=sys.stderr, flush=True)
    shutil.rmtree(folder, ignore_errors=True)
    _run(
        [sys.executable, "-m", "venv", str(folder)],
        "the virtual environment could not be made",
        "install the package python3-venv, then try again",
    )
    print("wattline: installing Python packages", file=sys.stderr, flush=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    _run(
        [*pip, "--no-input", "--requirement", str(env.CHECKOUT / "requirements.txt")],
        "the Python packages could not be installed",
        "check the network and pip's configuration, then try again",
    )
    _install_compiled(pip)
    write_atomic(stamp, wanted, 0o644)
    return python


def _install_compiled(pip: list[str]) -> None:
    """The packages that have to be compiled: a machine without a compiler goes without them."""
    try:
        _run(
            [*pip, "--no-input", "--requirement", str(env.CHECKOUT / COMPILED)],
            "packages that are compiled could not be installed",
            "install g++ and Python's headers (python3-dev) if you need them",
        )
    except SetupError as error:
        print(
            f"wattline: going on without patches between firmware images: {error}",
            file=sys.stderr,
            flush=True,
        )


def _fingerprint(folder: Path) -> str:
    names = ("requirements.txt", COMPILED)
    requirements = b"".join((env.CHECKOUT / name).read_bytes() for name in names)
    return f"{hashlib.sha256(requirements).hexdigest()} {sys.version} {sys.executable} {folder}\n"


def _run(command: list[str], what: str, remedy: str) -> None:
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR:")] or lines
        reason = errors[-1].removeprefix("ERROR: ") if errors else f"exit code {done.returncode}"
        raise SetupError(f"{what} ({reason}): {remedy}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
