"""Schemas are published for everybody's editors."""

from __future__ import annotations

from django.test import Client

from billing.tariffs import form


def test_the_schema_of_tariffs_is_published_where_it_says() -> None:
    answer = Client().get(form.schema()["$id"])

    assert answer.json() == form.schema()
    assert answer["Access-Control-Allow-Origin"] == "*"
    assert answer["Cache-Control"] == "public, max-age=3600"
