"""Servers of one's own: the checks and the roles when `DATABASE_URL` is set."""

from __future__ import annotations

import os
from urllib.parse import unquote, urlsplit

import psycopg
from psycopg import sql

from portal.devstack.errors import SetupError
from portal.devstack.home import Home
from portal.devstack.packages import OLDEST_POSTGRESQL, Say
from portal.devstack.roles import (
    APP,
    EXTENSIONS,
    INGEST,
    OWNER,
    Credentials,
    DatabaseUrls,
    create_roles,
)


def prepare_external(home: Home, url: str, say: Say) -> dict[str, str]:
    """Makes the roles and extensions in the database at `url`; returns the variables of the three
    roles.

    With `DATABASE_APP_URL` and `DATABASE_INGEST_URL` set as well, everything is taken as it is.
    Raises SetupError with a sentence when the server cannot be reached, is too old, or the role of
    `url` may not do it.
    """
    try:
        connection = psycopg.connect(url, autocommit=True, connect_timeout=10)
    except (psycopg.OperationalError, psycopg.ProgrammingError) as error:
        reason = str(error).strip().splitlines()[0]
        raise SetupError(
            f"the database of DATABASE_URL does not answer ({reason}): correct or unset "
            "DATABASE_URL"
        ) from error
    with connection:
        if connection.info.server_version < OLDEST_POSTGRESQL * 10_000:
            raise SetupError(
                f"the server of DATABASE_URL is older than PostgreSQL {OLDEST_POSTGRESQL}: use a "
                "newer one"
            )
        _ensure_extensions(connection)
        if os.environ.get("DATABASE_APP_URL") and os.environ.get("DATABASE_INGEST_URL"):
            return {
                name: os.environ[name] for name in ("DATABASE_APP_URL", "DATABASE_INGEST_URL")
            } | {"DATABASE_URL": url}
        return _ensure_roles(home, connection, url, say)


def _ensure_extensions(connection: psycopg.Connection) -> None:
    for extension in EXTENSIONS:
        try:
            connection.execute(
                sql.SQL("CREATE EXTENSION IF NOT EXISTS {}").format(sql.Identifier(extension))
            )
        except psycopg.Error as error:
            raise SetupError(
                f"the database of DATABASE_URL has no extension {extension} and it cannot be made "
                f"({str(error).strip().splitlines()[0]}): install it on the server and run CREATE "
                f"EXTENSION {extension} there "
                "as a superuser"
            ) from error


def _ensure_roles(home: Home, connection: psycopg.Connection, url: str, say: Say) -> dict[str, str]:
    existing = {
        str(row[0])
        for row in connection.execute(
            "SELECT rolname FROM pg_roles WHERE rolname = ANY(%s)", [[OWNER, APP, INGEST]]
        )
    }
    known = all((home.secrets / f"postgres_{name}").exists() for name in ("owner", "app", "ingest"))
    if existing and not known:
        raise SetupError(
            f"the server of DATABASE_URL has the role {min(existing)} already, and {home.secrets} "
            "does not know its "
            "password: set DATABASE_APP_URL and DATABASE_INGEST_URL too"
        )
    credentials = Credentials.of(home)
    if existing != {OWNER, APP, INGEST}:
        say("making the database roles")
    create_roles(connection, credentials)
    database = connection.info.dbname
    names = {"database": sql.Identifier(database), "owner": sql.Identifier(OWNER)}
    connection.execute(sql.SQL("GRANT ALL ON DATABASE {database} TO {owner}").format(**names))
    connection.execute(sql.SQL("GRANT ALL ON SCHEMA public TO {owner}").format(**names))
    for role in (APP, INGEST):
        connection.execute(
            sql.SQL("GRANT CONNECT ON DATABASE {database} TO {role}").format(
                role=sql.Identifier(role), **names
            )
        )
    parts = urlsplit(url)
    address = f"{parts.hostname or ''}:{parts.port}" if parts.port else parts.hostname or ""
    return DatabaseUrls.make(credentials, address, unquote(parts.path.lstrip("/"))).variables()
