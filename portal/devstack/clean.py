"""`make clean` and `make purge`; runs with the system's Python and the standard library alone."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from portal import env
from portal.devstack.errors import SetupError
from portal.devstack.home import Home, current, explain_os_error
from portal.devstack.lease import stop

# What the next `make up` makes again, in the state folder and in the checkout.
_STATE = ("venv", "stack", "apt", "npm", "tests", "static", "log")
_CHECKOUT = (
    *("node_modules", "static/vendor", ".mypy_cache", ".ruff_cache"),
    *(".pytest_cache", ".hypothesis", ".import_linter_cache"),
)


def main(arguments: list[str]) -> int:
    """Removes what can be made again; with `--data` the databases, secrets and certificates too."""
    try:
        remove(current(), data="--data" in arguments)
    except SetupError as error:
        print(f"wattline: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"wattline: {explain_os_error(error, Path(error.filename or '.'))}", file=sys.stderr)
        return 1
    return 0


def remove(home: Home, *, data: bool) -> None:
    """Stops the servers and removes; raises SetupError while a running command uses them."""
    if not stop(home):
        raise SetupError(f"a running command uses {home.path}: end it first")
    state = [home.path, env.CHECKOUT / ".wattline-home"]
    if not data:
        state = [home.path / name for name in _STATE]
    for target in [*(env.CHECKOUT / name for name in _CHECKOUT), *state]:
        if target.is_dir():
            shutil.rmtree(target)
        else:
            target.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
