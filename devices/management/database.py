"""The database of the ingest role for processes that do without the ORM."""

from __future__ import annotations

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from psycopg.conninfo import make_conninfo


def ingest_conninfo() -> str:
    """A libpq connection string for the database alias `ingest`.

    Raises ImproperlyConfigured when this process was not given the role.
    """
    database = settings.DATABASES["ingest"]
    if not database.get("USER"):
        raise ImproperlyConfigured(
            "DATABASE_INGEST_URL is not set: set it to the URL of the role that bridges and "
            "writers work with"
        )
    return make_conninfo(
        dbname=str(database["NAME"]),
        user=str(database["USER"]) or None,
        password=str(database["PASSWORD"]) or None,
        host=str(database["HOST"]) or None,
        port=str(database["PORT"]) or None,
        **database["OPTIONS"],
    )
