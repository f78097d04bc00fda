"""Settings from the environment."""

from __future__ import annotations

import pytest
from django.conf import settings
from psycopg.conninfo import conninfo_to_dict

from devices.management.database import ingest_conninfo
from portal import env


def test_database_url_hands_its_parameters_to_libpq(monkeypatch: pytest.MonkeyPatch) -> None:
    """Dropped silently, `sslmode` would leave the connection unverified."""
    url = "postgresql://me:p%40ss@db.example.org:5433/name?sslmode=verify-full&sslrootcert=/ca.pem"
    monkeypatch.setenv("DATABASE_SOME_URL", url)
    database = env.database("DATABASE_SOME_URL")
    tls = {"sslmode": "verify-full", "sslrootcert": "/ca.pem"}
    assert database == {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "name",
        "USER": "me",
        "PASSWORD": "p@ss",
        "HOST": "db.example.org",
        "PORT": "5433",
        "OPTIONS": tls,
    }
    monkeypatch.setitem(settings.DATABASES, "ingest", database)
    found = conninfo_to_dict(ingest_conninfo())
    assert {key: found[key] for key in tls} == tls
    assert (found["host"], found["password"]) == ("db.example.org", "p@ss")


def test_database_without_a_url_is_named_or_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_NO_URL", raising=False)
    with pytest.raises(env.SettingError, match="DATABASE_NO_URL is not set"):
        env.database("DATABASE_NO_URL")
    left_out = {"ENGINE": "django.db.backends.dummy"}
    assert env.database("DATABASE_NO_URL", optional=True) == left_out


def test_a_bucket_is_read_from_its_url(monkeypatch: pytest.MonkeyPatch) -> None:
    assert env.bucket("SOME_STORE") == {}
    url = "s3://key:a%2Fb@releases/of/ours?endpoint=https://s3.example.org&region=eu"
    monkeypatch.setenv("SOME_STORE", url)
    assert env.bucket("SOME_STORE") == {
        "name": "releases",
        "prefix": "of/ours",
        "key": "key",
        "secret": "a/b",
        "endpoint": "https://s3.example.org",
        "region": "eu",
    }
    for bad in ("releases", "https://releases", "s3://", "s3://releases?zone=eu"):
        monkeypatch.setenv("SOME_STORE", bad)
        with pytest.raises(env.SettingError, match="URL of a bucket"):
            env.bucket("SOME_STORE")
