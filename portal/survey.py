"""Which pages there are: found from the table of routes and by following links.

The benchmark of pages, Lighthouse and the screenshots all go through what this module finds, so
that a page that comes later is measured without being listed.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Final
from urllib.parse import parse_qsl, urlencode, urljoin, urlsplit

from django.urls import (
    NoReverseMatch,
    Resolver404,
    URLPattern,
    URLResolver,
    get_resolver,
    resolve,
    reverse,
)

# Pages that show nothing of their own: they answer programs, or lead elsewhere.
NO_PAGES: Final = frozenset({"oauth:authorize"})
_MAX_PAGES: Final = 400


@dataclass(frozen=True, slots=True)
class Answer:
    """What a GET brought: `path` is where it ended after redirects."""

    status: int
    content_type: str
    path: str
    text: str

    @property
    def is_page(self) -> bool:
        """Whether people see it: 200 and a whole HTML document."""
        html = self.content_type.startswith("text/html")
        return self.status == 200 and html and "<html" in self.text[:500].lower()


Get = Callable[[str], Answer]


@dataclass(frozen=True, slots=True)
class Page:
    """One example of a route that is a page; `text` is its HTML."""

    route: str
    path: str
    text: str

    @property
    def title(self) -> str:
        """A name for files and reports."""
        return self.route.replace(":", "-")


def routes(
    patterns: Sequence[URLPattern | URLResolver] | None = None, prefix: str = ""
) -> Iterator[str]:
    """The names of all routes, with their namespaces."""
    for pattern in get_resolver().url_patterns if patterns is None else patterns:
        if isinstance(pattern, URLResolver):
            namespace = f"{prefix}{pattern.namespace}:" if pattern.namespace else prefix
            yield from routes(pattern.url_patterns, namespace)
        elif pattern.name:
            yield f"{prefix}{pattern.name}"
        else:
            raise LookupError(f"the route {pattern.pattern} has no name: give it one")


def route_of(path: str) -> str | None:
    """The name of the route that serves a path; None where nothing does."""
    try:
        return resolve(urlsplit(path).path).view_name
    except Resolver404:
        return None


def plain_paths() -> Iterator[str]:
    """The addresses of all routes that take no argument."""
    for name in routes():
        try:
            yield reverse(name)
        except NoReverseMatch:
            continue


def explore(get: Get) -> list[Page]:
    """One page for each route that answers `get` with one, in the order of their paths.

    Begins with the routes without arguments and follows links, each route once.
    """
    found: dict[str, Page] = {}
    waiting = deque(sorted(plain_paths()))
    asked: set[str] = set()
    while waiting:
        path = waiting.popleft()
        route = route_of(path)
        if route is None or route in NO_PAGES or route in found or path in asked:
            continue
        asked.add(path)
        if len(asked) > _MAX_PAGES:
            raise LookupError(f"more than {_MAX_PAGES} addresses: is there one for every row?")
        answer = get(path)
        if not answer.is_page or (route_of(answer.path) or route) in found:
            continue
        page = Page(route_of(answer.path) or route, answer.path, answer.text)
        found[page.route] = page
        waiting.extend(_links(page))
    return sorted(found.values(), key=lambda page: page.path)


def variants(page: Page) -> list[str]:
    """Further addresses of a list, as its own links and filters lead there: other order, other
    page, the last page, each filter; exports are none.
    """
    reader = _read(page)
    own = urlsplit(page.path).path
    found = dict.fromkeys(
        address
        for address in (urljoin(page.path, link) for link in reader.links)
        if urlsplit(address).path == own and urlsplit(address).query and "export=" not in address
    )
    for name, values in reader.fields.items():
        found |= dict.fromkeys(f"{own}?{urlencode({name: value})}" for value in values)
    return list(found)


def _links(page: Page) -> Iterator[str]:
    for link in _read(page).links:
        address = urlsplit(urljoin(page.path, link))
        if (
            not address.scheme
            and not address.netloc
            and "export" not in dict(parse_qsl(address.query))
        ):
            yield address.path


def _read(page: Page) -> _Reader:
    reader = _Reader()
    reader.feed(page.text)
    return reader


@dataclass
class _Reader(HTMLParser):
    """Links of a document, and the fields of its search forms with a value or two to try."""

    links: list[str] = field(default_factory=list)
    fields: dict[str, list[str]] = field(default_factory=dict)
    _searching: bool = False
    _select: str = ""

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note links, fields and choices."""
        given = {name: value or "" for name, value in attrs}
        if tag == "a" and given.get("href") and "download" not in given:
            self.links.append(given["href"])
        elif tag == "form":
            self._searching = given.get("method", "get").lower() == "get"
        elif not self._searching:
            return
        elif tag == "select":
            self._select = given.get("name", "")
        elif tag == "option" and self._select and given.get("value"):
            values = self.fields.setdefault(self._select, [])
            if not values:
                values.append(given["value"])
        elif tag == "input" and given.get("type") in ("search", "text") and given.get("name"):
            self.fields[given["name"]] = ["a", "no such thing"]

    def handle_endtag(self, tag: str) -> None:
        """The end of a form or of its choices."""
        if tag == "form":
            self._searching = False
        elif tag == "select":
            self._select = ""
