#!/usr/bin/env python3
"""Wattline's commands. Without an active virtual environment, the one of `make up` is used."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec

OFFLINE = ["sign_firmware"]


def main() -> None:
    """Run one management command."""
    if sys.argv[1:2] == OFFLINE and find_spec("django") is not None:
        # Signs where no installation is: without settings, secrets and servers.
        from firmware.management.commands.sign_firmware import Command

        Command().run_from_argv(sys.argv)
        return
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    from portal import env  # needs no package; must come before Django is known to be there

    if find_spec("django") is None:
        python = env.home() / "venv" / "bin" / "python"
        if not python.exists() or sys.prefix == str(python.parent.parent):
            sys.exit(
                "Django is not installed here: run `make up` once, or activate the environment"
            )
        os.execv(python, [str(python), *sys.argv])
    from django.core.management import execute_from_command_line

    try:
        execute_from_command_line(sys.argv)
    except env.SettingError as error:
        sys.exit(f"wattline: {error}")


if __name__ == "__main__":
    main()
