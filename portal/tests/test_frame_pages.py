"""What the frame does on every page: search, tenants, languages, HTMX, forms, icons."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from django import forms
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from billing.accounts.dunning import MOST_STEPS
from devices.domain import search
from devices.domain.search import Kind
from devices.models import Device, Facility
from devices.tests import factories
from portal.devstack import languages
from portal.enterprise.billing.forms_dunning import PolicyForm
from portal.frame import navigation
from portal.frame.design import SampleForm
from portal.settings import BASE_DIR
from tenants.models import Tenant, User
from tenants.permissions import Role
from tenants.scope import Scope, open_scope

pytestmark = pytest.mark.django_db

HTMX = {"HX-Request": "true"}


def client_of(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def member(of: Tenant, role: Role) -> User:
    with open_scope(Scope((of.pk,))):
        return factories.member(of, role).user


def registered(of: Tenant, facility: str, device: str, serial: str) -> Device:
    with open_scope(Scope((of.pk,))):
        place = factories.facility(of)
        Facility.objects.filter(pk=place.pk).update(name=facility, city="")
        made = factories.device(place).device
        Device.objects.filter(pk=made.pk).update(name=device, serial=serial)
        return made


# --- search ---------------------------------------------------------


def found(user: User, text: str) -> list[str]:
    html = client_of(user).get(reverse("search-suggest"), {"q": text}).content.decode()
    return re.findall(r'role="option".*?<span>(.*?)</span>', html, re.DOTALL)


def test_search_finds_by_words_of_name_serial_and_facility() -> None:
    tenant = factories.tenant()
    registered(tenant, "Hamburg Winterhude", "Mains", "WLX-77")
    registered(tenant, "Bonn", "Bakery", "WLX-78")
    manager = member(tenant, Role.MANAGER)
    assert found(manager, "ham mains") == ["Mains"]
    assert found(manager, "wlx-78") == ["Bakery"]
    assert found(manager, "bonn") == ["Bonn", "Bakery"]
    assert found(manager, "nothing of that name") == []


def test_search_shows_what_begins_with_the_words_first() -> None:
    tenant = factories.tenant()
    for n, name in enumerate(("Alpha north", "North pole", "Beta north")):
        registered(tenant, name, "x", f"S-{n}")
    with open_scope(Scope((tenant.pk,))):
        hits = search.find(text="north", kinds=frozenset({Kind.FACILITY}), limit=5)
    assert [hit.title for hit in hits[Kind.FACILITY]] == ["North pole", "Alpha north", "Beta north"]


def test_search_stays_within_the_tenant() -> None:
    ours, theirs = factories.tenant(), factories.tenant()
    registered(theirs, "Secret plant", "Secret meter", "SECRET-1")
    stranger = member(theirs, Role.ADMIN)
    manager = member(ours, Role.MANAGER)
    assert found(manager, "secret") == []
    assert found(manager, stranger.email) == []


def test_search_shows_people_to_those_alone_who_may_see_them() -> None:
    tenant = factories.tenant()
    wanted = member(tenant, Role.ANALYST)
    User.objects.filter(pk=wanted.pk).update(name="Zora Quint")
    assert found(member(tenant, Role.MANAGER), "zora") == ["Zora Quint"]
    assert found(member(tenant, Role.TECHNICIAN), "zora") == []


def test_search_shows_no_pages_that_the_user_may_not_open() -> None:
    tenant = factories.tenant()
    assert "Audit log" in found(member(tenant, Role.ADMIN), "audit")
    assert found(member(tenant, Role.ANALYST), "audit") == []


@pytest.mark.parametrize("number", [1, 3])
def test_search_costs_one_query_a_kind(number: int) -> None:
    tenant = factories.tenant()
    for n in range(number):
        registered(tenant, f"Place {n}", f"Place meter {n}", f"P-{tenant.pk}-{n}")
    with open_scope(Scope((tenant.pk,))), CaptureQueriesContext(connection) as captured:
        search.find(text="place", kinds=frozenset(Kind), limit=5)
    assert len(captured) == 3


@pytest.mark.parametrize("text", ["\0", "%", "_", "'; --", "\\", "a " * 500])
def test_search_takes_any_text(text: str) -> None:
    tenant = factories.tenant()
    client = client_of(member(tenant, Role.MANAGER))
    assert client.get(reverse("search"), {"q": text}).status_code == 200


def test_search_escapes_names() -> None:
    tenant = factories.tenant()
    registered(tenant, "<script>alert(1)</script>", "x", "XSS-1")
    client = client_of(member(tenant, Role.MANAGER))
    for page in ("search", "search-suggest"):
        html = client.get(reverse(page), {"q": "alert"}).content.decode()
        assert "&lt;script&gt;alert(1)" in html
        assert "<script>alert" not in html


# --- tenants --------------------------------------------------------


def test_switching_acts_in_the_tenant_from_then_on() -> None:
    above = factories.operator()
    below = factories.tenant(above)
    registered(below, "Only below", "x", "B-1")
    client = client_of(member(above, Role.OPERATOR))
    response = client.post(reverse("switch-tenant"), {"tenant": below.pk}, follow=True)
    html = response.content.decode()
    assert f"You now work in {below.name}." in html
    assert re.search(rf'class="wl-tenant".*?<span>{below.name}</span>', html, re.DOTALL)


def test_nobody_switches_to_a_tenant_out_of_reach() -> None:
    ours, theirs = factories.tenant(), factories.tenant()
    client = client_of(member(ours, Role.ADMIN))
    for wanted in (str(theirs.pk), "", "x", "0"):
        response = client.post(reverse("switch-tenant"), {"tenant": wanted})
        assert response.status_code == 404
    assert "current_tenant" not in client.session


def test_switcher_is_offered_where_there_is_a_choice() -> None:
    above = factories.operator()
    below = factories.tenant(above)
    switch = f'href="{reverse("switch-tenant")}"'
    assert switch in client_of(member(above, Role.OPERATOR)).get("/design/").content.decode()
    assert switch not in client_of(member(below, Role.ADMIN)).get("/design/").content.decode()


def test_switcher_searches_where_there_are_many() -> None:
    above = factories.operator()
    tenants = [factories.tenant(above) for _ in range(9)]
    client = client_of(member(above, Role.OPERATOR))
    page = client.get(reverse("switch-tenant"), {"q": tenants[3].name}).content.decode()
    assert re.findall(r'name="tenant" value="(\d+)"', page) == [str(tenants[3].pk)]
    assert 'type="search"' in page


# --- language -------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "leads_to"),
    [
        ("/design/?sort=name", "/design/?sort=name"),
        ("https://evil.example/", "/"),
        ("//evil.example/", "/"),
        ("javascript:alert(1)", "/"),
        ("", "/"),
    ],
)
def test_choosing_a_language_leads_back_to_pages_of_ours_alone(wanted: str, leads_to: str) -> None:
    client = client_of(member(factories.tenant(), Role.MANAGER))
    response = client.post(reverse("language"), {"language": "de", "next": wanted})
    assert (response.status_code, response["Location"]) == (302, leads_to)


def test_language_of_the_person_wins_over_that_of_the_browser() -> None:
    user = member(factories.tenant(), Role.MANAGER)
    client = client_of(user)
    english = client.get("/design/", headers={"Accept-Language": "de"})
    assert english["Content-Language"] == "en"
    client.post(reverse("language"), {"language": "de"})
    user.refresh_from_db()
    assert user.language == "de"
    assert client.get("/design/", headers={"Accept-Language": "en"})["Content-Language"] == "de"


def test_language_of_nobody_is_that_of_the_browser_until_one_is_chosen() -> None:
    client = Client()
    login = reverse("login")
    assert client.get(login, headers={"Accept-Language": "de"})["Content-Language"] == "de"
    client.post(reverse("language"), {"language": "en"})
    assert client.get(login, headers={"Accept-Language": "de"})["Content-Language"] == "en"


def test_language_that_is_not_offered_is_refused() -> None:
    assert Client().post(reverse("language"), {"language": "xx"}).status_code == 400


def test_catalogues_are_sound() -> None:
    assert languages.check() == []


def test_frame_speaks_german() -> None:
    client = client_of(member(factories.tenant(), Role.MANAGER))
    client.post(reverse("language"), {"language": "de"})
    html = client.get("/design/").content.decode()
    assert '<html lang="de"' in html
    assert "Zum Inhalt springen" in html


# --- HTMX -----------------------------------------------------------


def test_redirect_for_a_part_of_a_page_is_one_of_the_page() -> None:
    client = client_of(member(factories.tenant(), Role.MANAGER))
    response = client.post(reverse("design"), {"tone": "success"}, headers=HTMX)
    assert (response.status_code, response["HX-Redirect"]) == (200, reverse("design"))
    assert response.content == b""
    assert "The device is saved." in client.get(reverse("design")).content.decode()


def test_part_of_a_page_asked_for_after_the_session_ended_loads_the_page_again() -> None:
    response = Client().get(reverse("design"), headers=HTMX)
    assert (response.status_code, response["HX-Refresh"]) == (200, "true")
    assert "Location" not in response


def test_messages_travel_with_a_part_of_a_page() -> None:
    client = client_of(member(factories.tenant(), Role.MANAGER))
    response = client.post(reverse("design-dialog"), {"name": "Mains"}, headers=HTMX)
    assert response.status_code == 204
    toast = {"text": "Mains is saved.", "tone": "success"}
    assert json.loads(response["HX-Trigger"]) == {
        "wattline:close-dialog": None,
        "wattline:toasts": {"toasts": [toast]},
    }
    assert "Mains is saved." not in client.get(reverse("design")).content.decode()


def test_answers_vary_by_what_was_asked_for() -> None:
    client = client_of(member(factories.tenant(), Role.MANAGER))
    assert "HX-Request" in client.get(reverse("design"))["Vary"]


# --- forms and icons --------------------------------------------------


def test_field_is_tied_to_its_label_help_and_error() -> None:
    class Form(forms.Form):
        serial = forms.CharField(label="Serial", help_text="On the label.")

    html = str(Form({"serial": ""}))
    assert '<label for="id_serial">Serial' in html
    field = re.search(r"<input[^>]*>", html)
    assert field is not None
    assert 'aria-describedby="id_serial_helptext id_serial_error"' in field[0]
    assert 'aria-invalid="true"' in field[0]
    for part in ("helptext", "error"):
        assert f'id="id_serial_{part}"' in html
    assert '<a href="#id_serial">Serial</a>: This field is required.' in html


def test_groups_show_every_field_once() -> None:
    html = str(SampleForm())
    fields = re.findall(r'name="(\w+)"', html)
    assert set(fields) == set(SampleForm.base_fields)
    assert html.count("<legend>State</legend>") == 1
    assert html.index('name="note"') < html.index("<legend>State") < html.index('name="active"')


def opened(client: Client, name: str) -> list[str]:
    html = client.get(reverse(name)).content.decode()
    return re.findall(r'<details data-menu-group="(\w+)" open>', html)


def test_the_menu_opens_the_group_of_the_page_and_those_that_a_person_keeps_open() -> None:
    client = client_of(member(factories.tenant(), Role.ADMIN))
    assert opened(client, "overview") == ["monitoring"]
    assert opened(client, "revenue") == ["monitoring", "reports"]
    client.cookies[navigation.OPEN_COOKIE] = "billing.people.nothing"
    assert opened(client, "revenue") == ["billing", "reports", "people"]
    client.cookies[navigation.OPEN_COOKIE] = ""
    assert opened(client, "comparison-create") == ["pricing"]


def test_groups_of_the_menu_have_codes_of_their_own_and_entries_one_group() -> None:
    codes = [group.code for group in navigation.GROUPS]
    entries = [entry.url_name for group in navigation.GROUPS for entry in group.entries]
    assert len(set(codes)) == len(codes)
    assert len(set(entries)) == len(entries)


def test_rows_of_fields_have_the_heads_of_their_columns() -> None:
    html = str(PolicyForm())
    assert html.count('<td data-label="Fee">') == MOST_STEPS
    assert 'data-columns="4"' in html


def test_every_icon_that_is_used_exists() -> None:
    manifest: dict[str, Any] = json.loads((BASE_DIR / "package.json").read_text(encoding="utf-8"))
    own = (BASE_DIR / "static" / "img" / "icons.svg").read_text(encoding="utf-8")
    known = {*manifest["wattline"]["icons"], *re.findall(r'<symbol id="([^"]+)"', own)}
    used = {entry.icon for group in navigation.GROUPS for entry in group.entries}
    used |= {entry.icon for entry in navigation.ACCOUNT}
    for file in (BASE_DIR / "templates").rglob("*.html"):
        text = file.read_text(encoding="utf-8")
        used |= set(re.findall(r'icon\.html" with name="([^"]+)"', text))
        used |= set(re.findall(r'empty\.html" with [^%]*icon="([^"]+)"', text))
    assert used - known == set()


def test_icons_of_the_two_sources_have_different_names() -> None:
    manifest: dict[str, Any] = json.loads((BASE_DIR / "package.json").read_text(encoding="utf-8"))
    own = (BASE_DIR / "static" / "img" / "icons.svg").read_text(encoding="utf-8")
    assert (
        set(manifest["wattline"]["icons"]) & set(re.findall(r'<symbol id="([^"]+)"', own)) == set()
    )
