"""Lists: sort, filter, page, part of a page and export of the same rows."""

from __future__ import annotations

import csv
import io
import re
from datetime import UTC, datetime
from typing import Any

import django_filters
import django_tables2 as columns
import pytest
from django import forms
from django.contrib.messages.storage.cookie import CookieStorage
from django.db import connection
from django.http import HttpResponse
from django.template import Context, Template
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from django.utils import timezone, translation
from django.utils.safestring import mark_safe

from devices.models import Facility
from devices.tests import factories
from portal.frame import exporting
from portal.frame.exporting import harmless
from portal.frame.filters import PortalFilterSet
from portal.frame.forms import LongSelect
from portal.frame.listing import render_list
from portal.frame.tables import NumberColumn, PortalTable
from tenants.models import Tenant
from tenants.scope import Scope, open_scope

pytestmark = pytest.mark.django_db


class Rows(PortalTable):
    name = columns.Column()
    city = columns.Column()
    number = NumberColumn(accessor="pk")

    empty_title = "No facility"


class Filters(PortalFilterSet):
    search_fields = ("name", "city")
    kind = django_filters.CharFilter()


def make(of: Tenant, *rows: tuple[str, str]) -> None:
    for name, city in rows:
        made = factories.facility(of)
        Facility.objects.filter(pk=made.pk).update(name=name, city=city)


def ask(query: dict[str, Any], **headers: str) -> Any:
    request = RequestFactory().get("/things/", query, headers=headers)
    request.resolver_match = None
    request._messages = CookieStorage(request)  # type: ignore[attr-defined]
    return render_list(
        request,
        table_class=Rows,
        rows=Facility.objects.order_by("name"),
        filterset_class=Filters,
        template="components/list.html",
    )


def names(response: HttpResponse) -> list[str]:
    text = response.content.decode()
    body = text[text.index("<tbody") :] if "<tbody" in text else ""
    return [part.split("<")[0].strip() for part in body.split('data-label="Name" >')[1:]]


@pytest.fixture
def of() -> Any:
    tenant = factories.tenant()
    with open_scope(Scope((tenant.pk,))):
        yield tenant


def test_list_is_sorted_by_the_column_asked_for(of: Tenant) -> None:
    make(of, ("Beta", "Ulm"), ("Alpha", "Bonn"), ("Gamma", "Aachen"))
    assert names(ask({})) == ["Alpha", "Beta", "Gamma"]
    assert names(ask({"sort": "-name"})) == ["Gamma", "Beta", "Alpha"]
    assert names(ask({"sort": "city"})) == ["Gamma", "Alpha", "Beta"]


def test_column_that_does_not_exist_sorts_nothing(of: Tenant) -> None:
    make(of, ("Beta", ""), ("Alpha", ""))
    assert names(ask({"sort": "tenant__name"})) == ["Alpha", "Beta"]


def test_rows_that_sort_alike_stand_on_one_page_each(of: Tenant) -> None:
    make(of, *((f"Same {n:02}", "Bonn") for n in range(60)))
    seen = [name for page in (1, 2, 3) for name in names(ask({"sort": "city", "page": page}))]
    assert len(seen) == len(set(seen)) == 60


def test_search_wants_every_word_in_some_field(of: Tenant) -> None:
    make(of, ("Market North", "Bonn"), ("Market South", "Ulm"), ("Depot", "Bonn"))
    assert names(ask({"q": "market bonn"})) == ["Market North"]
    assert names(ask({"q": "market"})) == ["Market North", "Market South"]


def test_page_beyond_the_last_is_the_last(of: Tenant) -> None:
    make(of, *((f"Row {n:02}", "") for n in range(30)))
    assert names(ask({"page": "99"})) == [f"Row {n:02}" for n in range(25, 30)]
    assert names(ask({"page": "x"})) == [f"Row {n:02}" for n in range(25)]


@pytest.mark.parametrize(("asked", "shown"), [("50", 50), ("10000", 25), ("x", 25)])
def test_page_has_one_of_the_offered_sizes(of: Tenant, asked: str, shown: int) -> None:
    make(of, *((f"Row {n:02}", "") for n in range(60)))
    assert len(names(ask({"per_page": asked}))) == shown


def test_part_of_a_page_is_the_list_alone_with_its_count(of: Tenant) -> None:
    make(of, ("Alpha", ""))
    htmx = {"HX-Request": "true", "HX-Target": "list"}
    part = ask({}, **htmx).content.decode()
    assert 'id="list-filter"' not in part
    assert re.search(r'id="list-count" role="status" hx-swap-oob="true">\s*1 of 1\s*<', part)
    assert 'id="list-filter"' in ask({}).content.decode()
    restored = {**htmx, "HX-History-Restore-Request": "true"}
    assert 'id="list-filter"' in ask({}, **restored).content.decode()


def test_empty_list_says_whether_filters_or_nothing_is_the_reason(of: Tenant) -> None:
    assert "No facility" in ask({}).content.decode()
    make(of, ("Alpha", ""))
    assert "Nothing matches" in ask({"q": "zzz"}).content.decode()


@pytest.mark.parametrize("number", [1, 3])
def test_list_costs_two_queries_however_long_it_is(of: Tenant, number: int) -> None:
    make(of, *((f"Row {n}", "") for n in range(number)))
    for query in ({}, {"sort": "-city", "q": "row"}):
        with CaptureQueriesContext(
            connection,
        ) as captured:
            ask(query)
        assert len(captured) == 2


def test_export_has_all_rows_that_the_filters_leave(of: Tenant) -> None:
    make(of, *((f"Row {n:02}", "Bonn") for n in range(40)), ("Other", "Ulm"))
    response = ask({"q": "row", "sort": "-name", "export": "csv", "page": "2"})
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    assert response["Content-Disposition"].startswith('attachment; filename="list-')
    text = response.getvalue().decode("utf-8-sig")
    lines = list(csv.reader(io.StringIO(text)))
    assert lines[0] == ["Name", "City", "Number"]
    assert [line[0] for line in lines[1:]] == [f"Row {n:02}" for n in reversed(range(40))]


def test_long_export_comes_in_portions_of_its_scope_and_language(
    of: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exporting, "PORTION", 2)
    make(of, *((f"Row {n}", "Bonn") for n in range(5)))
    with translation.override("de"):
        response = ask({"sort": "-name", "export": "csv"})
    # Sent after the request: its scope and its language are no more.
    with open_scope(Scope(())), translation.override("en"):
        assert not Facility.objects.exists()
        portions = [part.decode("utf-8-sig") for part in response]
        assert translation.get_language() == "en"
    assert [portion.count("Row") for portion in portions] == [2, 2, 1]
    lines = list(csv.reader(io.StringIO("".join(portions))))
    assert [line[0] for line in lines[1:]] == [f"Row {n}" for n in (4, 3, 2, 1, 0)]


def test_export_leaves_out_what_is_gone_meanwhile(of: Tenant) -> None:
    make(of, ("Alpha", ""), ("Beta", ""))
    response = ask({"export": "csv"})
    Facility.objects.filter(name="Alpha").update(name="Gamma")
    Facility.objects.filter(name="Beta").delete()
    lines = response.getvalue().decode("utf-8-sig").splitlines()
    assert [line.split(",")[0] for line in lines] == ["Name", "Gamma"]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_export_disarms_what_a_spreadsheet_would_run(of: Tenant, start: str) -> None:
    make(of, (f"{start}cmd|' /C calc'!A0", "Bonn"))
    text = ask({"export": "csv"}).getvalue().decode("utf-8-sig")
    assert next(iter(list(csv.reader(io.StringIO(text, newline="")))[1:]))[0].startswith(
        f"'{start}"
    )


def test_numbers_are_no_formulas() -> None:
    assert harmless(-5) == -5
    assert harmless("Mains") == "Mains"


def test_export_of_too_many_rows_asks_to_narrow_them(
    of: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(of, ("Alpha", ""), ("Beta", ""))
    monkeypatch.setattr(exporting, "MAX_ROWS", 1)
    response = ask({"export": "csv", "sort": "name"})
    assert (response.status_code, response["Location"]) == (302, "/things/?sort=name")


# --- Cells --------------------------------------------------------


class Cells(PortalTable):
    """A column of every way in which django-tables2 finds what a cell shows."""

    text = columns.Column(attrs={"td": {"class": "wl-right"}})
    safe = columns.Column()
    number = columns.Column()
    at = columns.Column()
    named = columns.Column(empty_values=())
    anything = columns.Column()
    missing = columns.Column()

    def render_named(self, record: dict[str, Any], bound_column: Any) -> str:
        return f"{record['text']} in {bound_column.name}"

    def render_anything(self, **given: Any) -> str:
        return " ".join(sorted(given))


def test_cells_are_those_of_the_template_language() -> None:
    record = {
        "text": '<b title="x">Jan\'s</b>',
        "safe": mark_safe("<b>bold</b>"),
        "number": 1234.5,
        "at": datetime(2026, 1, 2, 3, 4, tzinfo=UTC),
        "anything": 1,
    }
    cells = (
        "{% for column, cell in row.items %}"
        '<td role="cell" data-label="{{ column.header }}" {{ column.attrs.td.as_html }}>{{ cell }}'
        "</td>{% endfor %}"
    )
    for language in ("en", "de"):
        with translation.override(language), timezone.override("Europe/Berlin"):
            row = Cells([record]).rows[0]
            assert row.html == Template(cells).render(Context({"row": row}))
            assert row.html.count("<td") == 7


def test_long_choice_escapes_its_options() -> None:
    field = forms.ChoiceField(
        choices=[("", "All"), ("<a>", 'A & "B"'), ("More", [("1", "<One>"), (2, "Two")])],
        widget=LongSelect,
    )
    assert field.widget.render("which", "2") == (
        '<select name="which"><option value="">All</option>'
        '<option value="&lt;a&gt;">A &amp; &quot;B&quot;</option>'
        '<optgroup label="More"><option value="1">&lt;One&gt;</option>'
        '<option value="2" selected>Two</option></optgroup></select>'
    )
