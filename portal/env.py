"""Typed reading of the environment.

Every value may also come from a file: `NAME_FILE=/run/secrets/name` is read when `NAME` is unset.
Variables set by neither of these are looked up in `$WATTLINE_HOME/servers.env`,
which the development stack writes, so that `manage.py` finds the embedded servers without anything
being exported.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit


class SettingError(Exception):
    """A setting is missing or malformed; the message names it and says what to set."""


CHECKOUT = Path(__file__).resolve().parent.parent


def home() -> Path:
    """The folder with all state of this copy: servers, secrets, certificates (`WATTLINE_HOME`)."""
    if configured := os.environ.get("WATTLINE_HOME"):
        return Path(configured).expanduser().absolute()
    pointer = CHECKOUT / ".wattline-home"  # written when the default folder cannot serve
    if pointer.is_file():
        return Path(pointer.read_text(encoding="utf-8").strip())
    return CHECKOUT / ".wattline"


def _stack_values() -> dict[str, str]:
    try:
        lines = (home() / "servers.env").read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


_STACK = _stack_values()


def text(name: str, default: str | None = None) -> str:
    """The value of `name`; raises SettingError when it is unset and there is no default."""
    if name in os.environ:
        return os.environ[name]
    if file := os.environ.get(f"{name}_FILE"):
        try:
            return Path(file).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise SettingError(
                f"{name}_FILE names {file}, which cannot be read ({error.strerror}): "
                f"correct the path or its permissions, or set {name}"
            ) from error
    if name in _STACK:
        return _STACK[name]
    if default is None:
        raise SettingError(f"{name} is not set: set it, or run `make up` once to set up a copy")
    return default


def flag(name: str, *, default: bool) -> bool:
    """A yes/no setting."""
    value = text(name, "yes" if default else "no").strip().lower()
    if value in {"1", "true", "yes", "on"}:
        return True
    if value in {"0", "false", "no", "off", ""}:
        return False
    raise SettingError(f"{name} is {value!r}: set it to yes or no")


def integer(name: str, default: int, *, minimum: int, maximum: int) -> int:
    """A whole number between `minimum` and `maximum`, both included."""
    value = text(name, str(default))
    try:
        number = int(value)
    except ValueError:
        raise SettingError(
            f"{name} is {value!r}: set it to a whole number ({minimum} to {maximum})"
        ) from None
    if not minimum <= number <= maximum:
        raise SettingError(f"{name} is {number}: set it to a number from {minimum} to {maximum}")
    return number


def items(name: str, default: str = "") -> list[str]:
    """A list separated by commas; empty items are dropped."""
    return [item.strip() for item in text(name, default).split(",") if item.strip()]


def database(name: str, *, optional: bool = False) -> dict[str, Any]:
    """Django's database settings from a URL `postgresql://user:password@host:port/name`.

    What stands behind a question mark (`?sslmode=verify-full&sslrootcert=…`) is for libpq. With
    `optional`, an unset URL gives a database that refuses every query.
    """
    url = text(name, "" if optional else None)
    if optional and not url:
        return {"ENGINE": "django.db.backends.dummy"}
    parts = urlsplit(url)
    if parts.scheme not in {"postgres", "postgresql"} or not parts.path.strip("/"):
        raise SettingError(
            f"{name} is not a PostgreSQL URL: set it to postgresql://user:password@host:port/database"
        )
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": unquote(parts.hostname or ""),
        "PORT": str(parts.port or ""),
        "OPTIONS": dict(parse_qsl(parts.query)),
    }


@dataclass(frozen=True, slots=True)
class MailServer:
    """A server that takes messages; without TLS from the start STARTTLS is demanded of it."""

    host: str
    port: int
    user: str
    password: str
    tls_from_the_start: bool


def mail_server(name: str) -> MailServer | None:
    """The server of a URL `smtp://user:password@host:587` or `smtps://…:465`; None when unset."""
    url = text(name, "")
    if not url:
        return None
    problem = SettingError(
        f"{name} is not the URL of a mail server: set it to smtp://user:password@host:587 or "
        "smtps://user:password@host:465"
    )
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise problem from None
    if parts.scheme not in {"smtp", "smtps"} or not parts.hostname:
        raise problem
    tls = parts.scheme == "smtps"
    return MailServer(
        host=parts.hostname,
        port=port or (465 if tls else 587),
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        tls_from_the_start=tls,
    )


def bucket(name: str) -> dict[str, str]:
    """The bucket of a URL `s3://key:secret@bucket/prefix?endpoint=https://…&region=…`, empty when
    unset: `name`, `prefix`, `key`, `secret`, and what stands behind the question mark.
    """
    url = text(name, "")
    if not url:
        return {}
    parts = urlsplit(url)
    service = dict(parse_qsl(parts.query))
    if parts.scheme != "s3" or not parts.hostname or service.keys() - {"endpoint", "region"}:
        raise SettingError(
            f"{name} is not the URL of a bucket: set it to "
            "s3://key:secret@bucket/prefix?endpoint=https://s3.example.org&region=eu-central-1"
        )
    return {
        "name": parts.hostname,
        "prefix": unquote(parts.path.strip("/")),
        "key": unquote(parts.username or ""),
        "secret": unquote(parts.password or ""),
        **service,
    }
