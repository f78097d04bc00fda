"""Which pages there are, found by routes and links."""

from __future__ import annotations

from portal import survey
from portal.survey import Answer, Page


def page(body: str) -> Answer:
    return Answer(200, "text/html; charset=utf-8", "", f"<!doctype html><html>{body}</html>")


def site(pages: dict[str, str]) -> survey.Get:
    """Answers of a site that has these pages alone."""

    def get(path: str) -> Answer:
        if path not in pages:
            return Answer(404, "text/html", path, "<html>")
        found = page(pages[path])
        return Answer(found.status, found.content_type, path, found.text)

    return get


def test_pages_behind_links_are_found_once_for_each_route() -> None:
    links = '<a href="/facilities/7/">a</a> <a href="/facilities/8/?x=1">b</a> <a href="//evil/">'
    found = survey.explore(
        site({"/": links, "/facilities/7/": '<a href="../../devices/3/">', "/devices/3/": ""})
    )
    assert [(p.route, p.path) for p in found] == [
        ("overview", "/"),
        ("device", "/devices/3/"),
        ("facility", "/facilities/7/"),
    ]


def test_answers_that_are_no_pages_are_left_out() -> None:
    def get(path: str) -> Answer:
        kinds = {"/health/live": "application/json", "/": "text/html"}
        return Answer(200, kinds.get(path, "text/plain"), path, '{"<html": 1}')

    assert [p.route for p in survey.explore(get)] == ["overview"]


def test_page_that_leads_elsewhere_counts_as_the_one_it_leads_to() -> None:
    def get(path: str) -> Answer:
        return Answer(200, "text/html", "/accounts/login/", "<html>")

    assert [(p.route, p.path) for p in survey.explore(get)] == [("login", "/accounts/login/")]


def test_variants_of_a_list_are_its_orders_pages_and_filters() -> None:
    text = """
      <a href="?sort=name">Name</a> <a href="?page=2">2</a> <a href="?export=csv">Export</a>
      <a href="/elsewhere/?sort=x">no</a> <a href="?page=2">2</a>
      <form method="get">
        <input type="search" name="q"><input type="hidden" name="sort" value="x">
        <select name="kind"><option value="">all</option><option value="site">Site</option>
          <option value="area">Area</option></select>
      </form>
      <form method="post"><input type="text" name="password"></form>
    """
    assert survey.variants(Page("overview", "/", text)) == [
        "/?sort=name",
        "/?page=2",
        "/?q=a",
        "/?q=no+such+thing",
        "/?kind=site",
    ]


def test_every_route_has_a_name_that_leads_back_to_it() -> None:
    for path in survey.plain_paths():
        assert survey.route_of(path) in set(survey.routes())
