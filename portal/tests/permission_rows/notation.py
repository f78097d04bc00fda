"""How the permission table is written: one line for each route and method.

The columns of a row are what six kinds of people get:

- `may`: who has one of `roles` in the tenant of the object or in a tenant above it;
- `far`: who has one of `roles`, but in another tenant, in one below, or for another facility;
- `others`: every other role, wherever;
- `newcomer`: signed in, a member of no tenant, or suspended in it;
- `nobody`: not signed in, or an account that is no longer active.

`but` names the single people, or tokens, that get something else. Statuses are spelled out and never computed
from the code under test. 302 leads to the sign-in page, or on from it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from portal.tests.permission_rows.world import World

STAFF: Final = "operator admin manager technician analyst support"
# "custom" is a role that a tenant has made: see facilities, readings and the audit trail.
EVERY: Final = f"{STAFF} consumer custom"


@dataclass(frozen=True)
class Row:
    """One route and method; see the module."""

    route: str
    method: str
    roles: str  # codes of roles, separated by spaces
    may: int
    far: int
    others: int
    newcomer: int
    nobody: int
    subject: str = ""  # whose key the route takes: a name in the subjects of an area
    but: Mapping[str, int] = field(default_factory=dict)  # person ("own manager") → status
    # What is sent: the form of a POST, the query of a GET. Without a form the row shows that nobody else gets as far as
    # the form's own errors.
    form: Callable[[World], Mapping[str, object]] | None = None
    # Roles that may read the texts of the objects, where they are not all of `roles`.
    readers: str | None = None
    # What concerns no facility: what those of `roles` get who are granted another facility alone, and
    # service accounts of any facility.
    elsewhere: int | None = None
    # REST API alone: what an access token needs; None: no route of the API.
    scopes: str | None = None

    def __str__(self) -> str:
        return f"{self.method} {self.route}"


def anybody(route: str, method: str, status: int, subject: str = "") -> Row:
    """A route that makes no difference between people."""
    return Row(route, method, EVERY, status, status, status, status, status, subject)


def member(route: str, method: str, status: int, *, nobody: int = 302, readers: str = EVERY) -> Row:
    """A route for whoever is signed in."""
    return Row(route, method, EVERY, status, status, status, status, nobody, readers=readers)


def api(
    route: str,
    roles: str,
    scopes: str,
    far: int,
    subject: str = "",
    form: Callable[[World], Mapping[str, object]] | None = None,
) -> Row:
    """A route of the REST API that reads: `far` is 200 for a list, which then is the reader's."""
    return Row(route, "GET", roles, 200, far, 403, 403, 401, subject, scopes=scopes, form=form)


@dataclass(frozen=True)
class Area:
    """The rows of one part of the portal, with what they need.

    `subjects`: name → the key of the object asked for, or all the arguments of its route.
    `secrets`: texts of the objects that refused and narrowed answers are searched for.
    `sockets`: (route, what is watched) → (roles, the kind of answer for those who may, then the
    close codes for `far` … `nobody` of a row).
    """

    rows: tuple[Row, ...] = ()
    subjects: Mapping[str, Callable[[World], object]] = field(default_factory=dict)
    secrets: Callable[[World], list[str]] = lambda world: []
    sockets: Mapping[tuple[str, str], tuple[str, str, int, int, int, int]] = field(
        default_factory=dict
    )
