"""Secrets of simulated devices: a JSON file that its owner alone can read."""

from __future__ import annotations

import base64
import binascii
import json
import os
from pathlib import Path
from typing import Any


class KeyringError(Exception):
    """The file cannot be read or written; the message says what to do."""


def load(path: Path) -> dict[str, Any]:
    """The object in a state file, empty when there is none; raises KeyringError."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise KeyringError(
            f"{path} cannot be read ({error}): remove it, and `manage.py demo` makes a new one"
        ) from error
    if not isinstance(found, dict):
        raise KeyringError(f"{path} holds no JSON object: remove it")
    return found


def save(path: Path, value: dict[str, Any]) -> None:
    """Replace a state file as a whole, readable for its owner alone; raises KeyringError."""
    draft = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(value, file, indent=1, ensure_ascii=False)
            file.write("\n")
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise KeyringError(
            f"{path} cannot be written ({error.strerror}): free space or change WATTLINE_HOME"
        ) from error


def secret_bytes(text: str) -> bytes:
    """A device secret from the form in which it is shown (base32); raises KeyringError."""
    compact = text.replace(" ", "").replace("-", "").upper()
    try:
        return base64.b32decode(compact + "=" * (-len(compact) % 8))
    except binascii.Error as error:
        raise KeyringError(f"a device's secret is not base32 ({error}): register it anew") from None
