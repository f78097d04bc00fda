"""The three database roles, and their passwords in the state folder."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

import psycopg
from psycopg import sql

from portal.devstack.errors import SetupError
from portal.devstack.home import Home

ADMIN = "wattline_admin"
OWNER = "wattline_owner"
APP = "wattline_app"
INGEST = "wattline_ingest"
EXTENSIONS = ("timescaledb", "btree_gist")

# What each role may do beyond its grants. The owner makes databases for tests. Row-level security
# binds the app; COPY is refused under row-level security, so ingest is exempt and has next to no
# grants instead.
_ATTRIBUTES = {
    OWNER: "LOGIN NOSUPERUSER CREATEDB NOCREATEROLE NOBYPASSRLS",
    APP: "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS",
    INGEST: "LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE BYPASSRLS",
}


@dataclass(frozen=True)
class Credentials:
    """The passwords of the roles."""

    admin: str
    owner: str
    app: str
    ingest: str

    @classmethod
    def of(cls, home: Home) -> Credentials:
        """Those of this copy, made at the first call."""
        return cls(
            *(home.secret(f"postgres_{name}") for name in ("admin", "owner", "app", "ingest"))
        )

    def passwords(self) -> dict[str, str]:
        """Role name to password, without the administrator."""
        return {OWNER: self.owner, APP: self.app, INGEST: self.ingest}


@dataclass(frozen=True)
class DatabaseUrls:
    """One database as each role sees it."""

    owner: str
    app: str
    ingest: str

    @classmethod
    def make(cls, credentials: Credentials, address: str, database: str) -> DatabaseUrls:
        """URLs for `address` (host:port, or host alone)."""
        name = quote(database, safe="")
        return cls(
            *(
                f"postgresql://{role}:{quote(password, safe='')}@{address}/{name}"
                for role, password in credentials.passwords().items()
            )
        )

    def variables(self) -> dict[str, str]:
        """As environment variables."""
        return {
            "DATABASE_URL": self.owner,
            "DATABASE_APP_URL": self.app,
            "DATABASE_INGEST_URL": self.ingest,
        }


def create_roles(connection: psycopg.Connection, credentials: Credentials) -> None:
    """Makes the roles; those that exist get the attributes and the password again.

    Raises SetupError when the connected role may not do that.
    """
    for role, password in credentials.passwords().items():
        exists = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone()
        statement = sql.SQL("{verb} ROLE {role} {attributes} PASSWORD {password}").format(
            verb=sql.SQL("ALTER" if exists else "CREATE"),
            role=sql.Identifier(role),
            attributes=sql.SQL(_ATTRIBUTES[role]),
            password=sql.Literal(password),
        )
        try:
            connection.execute(statement)
        except psycopg.errors.InsufficientPrivilege as error:
            raise SetupError(
                f"the role of DATABASE_URL may not make {role} ({error.diag.message_primary}): "
                "run deploy/roles.sql as a "
                "superuser and set DATABASE_APP_URL and DATABASE_INGEST_URL"
            ) from error


def create_database(
    connection: psycopg.Connection, name: str, *, owner: str, template: str
) -> None:
    """Makes a database that nobody but its owner and our roles can enter."""
    names = {
        "name": sql.Identifier(name),
        "owner": sql.Identifier(owner),
        "template": sql.Identifier(template),
    }
    connection.execute(
        sql.SQL("CREATE DATABASE {name} OWNER {owner} TEMPLATE {template}").format(**names)
    )
    connection.execute(sql.SQL("REVOKE ALL ON DATABASE {name} FROM PUBLIC").format(**names))
    for role in (APP, INGEST):
        connection.execute(
            sql.SQL("GRANT CONNECT ON DATABASE {name} TO {role}").format(
                role=sql.Identifier(role), **names
            )
        )
