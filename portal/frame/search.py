"""The search of the portal: pages, facilities, devices and people that the user may open."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext as _

from devices.domain import search
from devices.domain.search import Hit, Kind
from portal.frame import navigation
from portal.frame.permissions import may
from tenants.permissions import Permission

# More letters than a name has are no search.
MAX_LENGTH: Final = 100


@dataclass(frozen=True, slots=True)
class Result:
    """One line of what was found."""

    title: str
    detail: str
    url: str
    icon: str


@dataclass(frozen=True, slots=True)
class ResultGroup:
    """Results of one kind; never empty."""

    label: str
    results: tuple[Result, ...]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where hits of a kind lead, and who may go there."""

    url_name: str
    icon: str
    permissions: tuple[Permission, ...]


_PLACES: Final = {
    Kind.FACILITY: _Place(
        "facility",
        "building-community",
        (Permission.FACILITIES_VIEW, Permission.READINGS_VIEW),
    ),
    Kind.DEVICE: _Place("device", "cpu", (Permission.DEVICES_VIEW, Permission.READINGS_VIEW)),
    Kind.PERSON: _Place("person", "user-circle", (Permission.MEMBERS_VIEW,)),
}


def results(request: HttpRequest, text: str, *, limit: int) -> tuple[ResultGroup, ...]:
    """What `text` finds, at most `limit` of each kind; for no text the pages alone."""
    text = text[:MAX_LENGTH].replace("\0", "")
    kinds = frozenset(
        kind
        for kind, place in _PLACES.items()
        if all(may(request, permission) for permission in place.permissions)
    )
    pages = navigation.find(request, search.words_of(text))
    found = search.find(text=text, kinds=kinds, limit=limit)
    labels = {
        Kind.FACILITY: _("Facilities"),
        Kind.DEVICE: _("Devices"),
        Kind.PERSON: _("People"),
    }
    groups = [
        ResultGroup(_("Pages"), tuple(Result(p.label, "", p.url, p.icon) for p in pages)),
        *(
            ResultGroup(labels[kind], tuple(_result(hit) for hit in hits))
            for kind, hits in found.items()
        ),
    ]
    return tuple(group for group in groups if group.results)


def _result(hit: Hit) -> Result:
    place = _PLACES[hit.kind]
    return Result(hit.title, hit.detail, reverse(place.url_name, args=[hit.row_id]), place.icon)
