"""The system's Chromium, for the browser tests."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from portal.devstack.packages import Say

HOW_TO_GET = (
    "no Chromium on this machine: install the package chromium, or set WATTLINE_CHROMIUM to one"
)
_NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
_INSTALL_SECONDS = 600


def find() -> Path | None:
    """The browser to use: `WATTLINE_CHROMIUM`, else the one found on the PATH."""
    if named := os.environ.get("WATTLINE_CHROMIUM"):
        return Path(named)
    found = next((path for name in _NAMES if (path := shutil.which(name))), None)
    return Path(found) if found else None


def install(say: Say) -> Path | None:
    """Installs Debian's package when we are root and there is no browser yet."""
    if (found := find()) is not None or os.geteuid() != 0 or shutil.which("apt-get") is None:
        return found
    say("installing Chromium for the browser tests")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    for command in (["update"], ["install", "--yes", "--no-install-recommends", "chromium"]):
        try:
            done = subprocess.run(
                ["apt-get", "-q", *command],
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_INSTALL_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            say("apt-get did not end in time, so there is no Chromium")
            return None
        if done.returncode:
            lines = (done.stderr or done.stdout).strip().splitlines()
            say(f"Chromium could not be installed ({lines[-1] if lines else done.returncode})")
            return None
    return find()
