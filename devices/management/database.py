"""The database of the ingest role for processes that do without the ORM."""

from __future__ import annotations

from django.conf import settings
from psycopg.conninfo import make_conninfo


def ingest_conninfo() -> str:
    """A libpq connection string for the database alias `ingest`."""
    database = settings.DATABASES["ingest"]
    return make_conninfo(
        dbname=str(database["NAME"]),
        user=str(database["USER"]) or None,
        password=str(database["PASSWORD"]) or None,
        host=str(database["HOST"]) or None,
        port=str(database["PORT"]) or None,
    )
