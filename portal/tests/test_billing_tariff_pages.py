"""Pages of tariffs: written with checks, published, revised, archived."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from pytest_django import DjangoAssertNumQueries

from billing.models import Tariff, TariffVersion, VersionState
from billing.tariffs import document
from portal.charts.schedule import WIDTH, schedule_chart
from portal.enterprise.billing.source_lines import line_of, lines_of
from portal.enterprise.billing.summary import summary
from portal.tests.test_billing_pages import Books, keep
from tenants.permissions import Role
from tenants.scope import open_scope

SOURCE = """\
tariff: 1
name: Shop
currency: EUR
holidays: DE-BY
seasons:
  summer: ["04-01..09-30"]
  winter: ["10-01..03-31"]
schedules:
  times:
    - {period: day, days: [mon, tue, wed, thu, fri], seasons: [winter], from: "06:00", to: "22:00"}
    - {period: night, days: [mon, tue, wed, thu, fri], seasons: [winter], to: "06:00"}
    - {period: night, days: [mon, tue, wed, thu, fri], seasons: [winter], from: "22:00"}
    - {period: night, days: [sat, sun, holiday], seasons: [winter]}
    - {period: day, seasons: [summer]}
components:
  - {kind: standing, name: base, amount: 9.90, per: month}
  - kind: energy
    name: energy
    schedule: times
    prices:
      day: [{up_to: 100, price: 0.34}, {price: 0.31}]
      night: 0.26
  - {kind: demand, name: power, window_min: 15, prices: 7.5}
  - {kind: tax, name: vat, of: all, percent: 19}
"""


def _posted(**changes: Any) -> dict[str, Any]:
    return {"valid_from": "2100-01-01", "source": SOURCE, **changes}


def _made(books: Books, client: Client) -> Tariff:
    client.post(reverse("tariff-create"), {"name": "Shop", "currency": "EUR"})
    with open_scope(books.scope):
        return Tariff.objects.get(name="Shop")


def _versions(books: Books, of: Tariff) -> list[TariffVersion]:
    with open_scope(books.scope):
        return list(TariffVersion.objects.filter(tariff=of).order_by("valid_from", "revision"))


def test_a_tariff_is_written_published_and_revised(db: None) -> None:
    books = keep()
    client = books.browser()
    tariff = _made(books, client)
    draft = reverse("tariff-draft", args=[tariff.pk])
    first = client.get(draft)
    # What a new tariff begins with is a sound one.
    assert first.context["sound"] is True
    assert client.post(draft, _posted()).status_code == 302
    (version,) = _versions(books, tariff)
    page = client.get(reverse("tariff-version", args=[version.pk])).content.decode()
    assert "0.26\N{NO-BREAK SPACE}EUR" in page
    assert version.sha256 in page
    edit = reverse("tariff-version-edit", args=[version.pk])
    client.post(edit, _posted(source=SOURCE.replace("9.90", "9.80")))
    client.post(reverse("tariff-version-publish", args=[version.pk]))
    (version,) = _versions(books, tariff)
    assert (version.state, version.document["components"][0]["amount"]) == (
        VersionState.PUBLISHED,
        "9.8",
    )
    assert client.post(edit, _posted()).status_code == 422
    # The next revision needs a reason.
    client.post(reverse("tariff-version-duplicate", args=[version.pk]))
    revised = _versions(books, tariff)[1]
    publish = reverse("tariff-version-publish", args=[revised.pk])
    assert "give a reason" in client.post(publish, follow=True).content.decode()
    edit = reverse("tariff-version-edit", args=[revised.pk])
    client.post(edit, _posted(reason="The base price was wrong"))
    client.post(publish)
    assert [one.state for one in _versions(books, tariff)] == [VersionState.PUBLISHED] * 2
    assert (
        "The base price was wrong"
        in client.get(reverse("tariff", args=[tariff.pk])).content.decode()
    )


def test_problems_are_told_with_their_lines_and_nothing_is_kept(db: None) -> None:
    books = keep()
    client = books.browser()
    tariff = _made(books, client)
    check = reverse("tariff-check")
    wrong = SOURCE.replace("night: 0.26", "night: cheap")
    answer = client.post(check, _posted(source=wrong))
    line = 1 + wrong[: wrong.index("night: cheap")].count("\n")
    told = answer.context["problems"]
    assert [(one.path, one.line) for one in told] == [("components[1].prices.night", line)]
    assert f"Line {line}" in answer.content.decode()
    # An instant without a price is named.
    gap = SOURCE.replace(
        "    - {period: night, days: [sat, sun, holiday], seasons: [winter]}\n", ""
    )
    assert "2100-01-0" in client.post(check, _posted(source=gap)).content.decode()
    assert client.post(check, _posted(source="- ] no yaml")).context["problems"]
    assert client.post(check, _posted(source="")).context["sound"] is False
    draft = reverse("tariff-draft", args=[tariff.pk])
    refused = client.post(draft, _posted(source=wrong))
    assert refused.status_code == 422
    assert "source" in refused.context["form"].errors
    assert _versions(books, tariff) == []


def test_a_tariff_is_archived_and_taken_back_and_a_draft_deleted(db: None) -> None:
    books = keep()
    client = books.browser()
    tariff = _made(books, client)
    client.post(reverse("tariff-draft", args=[tariff.pk]), _posted())
    client.post(reverse("tariff-edit", args=[tariff.pk]), {"name": "Shops"})
    client.post(reverse("tariff-archive", args=[tariff.pk]))
    listed = client.get(f"{reverse('tariff-list')}?archived=yes").content.decode()
    assert "Shops" in listed
    client.post(reverse("tariff-restore", args=[tariff.pk]))
    listed = client.get(f"{reverse('tariff-list')}?archived=yes").content.decode()
    assert "Shops" not in listed
    (version,) = _versions(books, tariff)
    client.post(reverse("tariff-version-delete", args=[version.pk]))
    assert _versions(books, tariff) == []


def test_a_published_tariff_is_taken_in_as_a_draft(db: None) -> None:
    books = keep()
    client = books.browser()
    address = reverse("tariff-import")
    assert client.get(address).status_code == 200
    weekday = [[0] * 24 for _month in range(12)]
    record = {
        "name": "Residential",
        "utility": "Town",
        "energyratestructure": [[{"rate": 0.11, "unit": "kWh"}]],
        "energyweekdayschedule": weekday,
        "energyweekendschedule": weekday,
    }

    def sent(of: dict[str, Any]) -> dict[str, Any]:
        file = SimpleUploadedFile("urdb.json", json.dumps(of).encode())
        return {"content": file, "currency": "USD", "valid_from": "2026-01-01"}

    refused = client.post(address, sent({**record, "coincidentratestructure": [[{"rate": 3}]]}))
    assert (refused.status_code, list(refused.context["form"].errors)) == (422, ["content"])
    done = client.post(address, sent(record))
    with open_scope(books.scope):
        made = Tariff.objects.latest("pk")
    assert done["Location"] == reverse("tariff", args=[made.pk])
    (version,) = _versions(books, made)
    assert "0.11" in client.get(reverse("tariff-version", args=[version.pk])).content.decode()


def test_who_only_sees_bills_changes_no_tariff(db: None) -> None:
    books = keep()
    tariff = _made(books, books.browser())
    client = books.browser(Role.ANALYST)
    page = client.get(reverse("tariff", args=[tariff.pk])).content.decode()
    assert reverse("tariff-draft", args=[tariff.pk]) not in page
    assert client.post(reverse("tariff-check"), _posted()).status_code == 403


@pytest.mark.parametrize("count", [1, 3])
def test_tariff_pages_take_the_same_queries_however_many_versions(
    count: int, db: None, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    books = keep()
    client = books.browser()
    tariff = _made(books, client)
    for year in range(count):
        given = _posted(valid_from=f"210{year}-01-01")
        client.post(reverse("tariff-draft", args=[tariff.pk]), given)
    version = _versions(books, tariff)[0]
    for address, most in (
        (reverse("tariff", args=[tariff.pk]), 13),
        (reverse("tariff-version", args=[version.pk]), 12),
        (reverse("tariff-draft", args=[tariff.pk]), 15),
    ):
        with django_assert_max_num_queries(most):
            assert client.get(address).status_code == 200


# --- what the pages are made of ----------------------------------------------------------


def test_a_schedule_is_drawn_by_season_and_day() -> None:
    tariff = document.read(SOURCE)
    chart = schedule_chart(tariff.schedules[0])
    assert [one.season for one in chart.maps] == ["summer", "winter"]
    summer, winter = chart.maps
    assert {len(day.blocks) for day in summer.days} == {1}
    assert [len(day.blocks) for day in winter.days] == [3] * 5 + [1] * 3
    monday = winter.days[0].blocks
    assert [round(block.width * 24 / WIDTH, 2) for block in monday] == [6, 16, 2]
    assert monday[0].title.endswith("00:00–06:00 night")


def test_every_kind_of_component_is_told() -> None:
    components = [
        {
            "kind": "dynamic",
            "name": "spot",
            "series": "day-ahead",
            "factor": "1.1",
            "adder": "0.02",
        },
        {"kind": "energy", "name": "fed", "flow": "export", "prices": "0.08"},
        {
            "kind": "demand",
            "name": "power",
            "window_min": 30,
            "prices": "4",
            "ratchet": {"percent": 80, "months": 11},
        },
        {
            "kind": "power_factor",
            "name": "cos",
            "of": ["power"],
            "target": "0.9",
            "surcharge": "ratio",
        },
        {"kind": "minimum", "name": "least", "of": ["spot"], "amount": 5, "per": "month"},
        {"kind": "discount", "name": "loyal", "of": ["spot"], "percent": 3},
        {"kind": "levy", "name": "grid", "per_kWh": "0.01"},
        {"kind": "tax", "name": "vat", "of": "all", "percent": 19},
    ]
    mapping = {"tariff": 1, "name": "All", "currency": "EUR", "components": components}
    told = summary(document.read(mapping)).components
    assert len(told) == len(components)
    assert all(one.text for one in told)
    assert "80" in told[2].text
    assert told[7].text.startswith("19")


def test_a_path_is_found_in_the_lines_or_in_what_it_would_stand_in() -> None:
    lines = lines_of(SOURCE)
    energy = 1 + SOURCE[: SOURCE.index("- kind: energy")].count("\n")
    assert line_of(lines, "components[1]") == energy
    assert line_of(lines, "components[1].flow") == energy
    assert line_of(lines, "") is None
    assert lines_of("{") == {}


@pytest.mark.django_db
def test_what_is_wrong_of_a_source_is_told_in_the_readers_language() -> None:
    books = keep()
    client = books.browser()
    client.post(reverse("language"), {"language": "de"})
    wrong = client.post(reverse("tariff-check"), _posted(source="tariff: 1\nname: x\n"))
    assert "Dies fehlt." in wrong.content.decode()
    record = SimpleUploadedFile("tariff.json", b'{"tariffs": []}')
    refused = client.post(reverse("tariff-import"), {"content": record, "currency": "EUR"})
    assert refused.status_code == 422
    assert "ist kein Tarif in einer Form, die dieser Import kennt." in refused.content.decode()
