"""People with the facilities that they reach; needs an open scope that is not narrowed."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from django.db.models import (
    Case,
    CharField,
    Count,
    F,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
    Value,
    When,
)
from django.db.models.functions import Coalesce, Concat

from devices.models import Facility, FacilityAccess
from tenants.domain import queries_people
from tenants.domain.authority import givable, held, permissions_of
from tenants.domain.queries import RoleFacts
from tenants.models import Invitation, Membership
from tenants.permissions import Permission, Role

# What a search for facilities shows at once; narrowing it is quicker than reading more.
MAX_CHOICES: Final = 50


@dataclass(frozen=True, slots=True)
class FacilityChoice:
    """A facility to choose; `path` names the sites that it is an area of."""

    facility_id: int
    name: str
    path: str
    city: str
    chosen: bool


@dataclass(frozen=True, slots=True)
class FacilityChoices:
    """Those that are chosen, then those that the search found; `more` were left out."""

    choices: tuple[FacilityChoice, ...]
    more: int


@dataclass(frozen=True, slots=True)
class PersonDetail:
    """A member, what the membership allows, and what the reader may do about it.

    `changeable`: the reader may change it; `obstacle` is "self" or "mightier" when that is why not.
    `custom_roles`, `built_in`: the roles that the reader may give.
    """

    membership: Membership
    permissions: frozenset[Permission]
    facilities: tuple[FacilityChoice, ...]
    invitation: Invitation | None
    changeable: bool
    obstacle: str
    built_in: tuple[Role, ...]
    custom_roles: tuple[RoleFacts, ...]


def people_rows(*, roles: Iterable[RoleFacts]) -> QuerySet[Membership]:
    """As `tenants.domain.queries_people.people_rows`, with `facility_count`: how many facilities
    were granted, null for a membership that reaches all.
    """
    # A sub-query, so that it runs for the rows of a page alone.
    granted = (
        FacilityAccess.objects.filter(membership=OuterRef("pk"))
        .order_by()
        .values("membership")
        .annotate(number=Count("pk"))
        .values("number")
    )
    return queries_people.people_rows(roles=roles).annotate(
        facility_count=Case(
            When(narrowed=True, then=Coalesce(Subquery(granted), 0)), default=Value(None)
        )
    )


def person(*, membership_id: int, roles: Iterable[RoleFacts], reader_id: int) -> PersonDetail:
    """One member; raises Membership.DoesNotExist outside the scope. A fixed number of queries."""
    membership = people_rows(roles=roles).get(pk=membership_id)
    tenant_id = membership.tenant_id
    permissions = permissions_of(membership)
    holds = held(actor_id=reader_id, tenant_id=tenant_id)
    may_change = Permission.MEMBERS_CHANGE in holds
    built_in, custom = givable(actor_id=reader_id, tenant_id=tenant_id)
    obstacle = "self" if membership.user_id == reader_id else ""
    if not obstacle and not permissions <= holds:
        obstacle = "mightier"
    granted = FacilityAccess.objects.filter(membership=membership).values("facility_id")
    return PersonDetail(
        membership=membership,
        permissions=permissions,
        facilities=tuple(
            _choice(row, chosen=True) for row in _with_path(Facility.objects.filter(pk__in=granted))
        ),
        invitation=queries_people.invited(membership=membership),
        changeable=may_change and not obstacle,
        obstacle=obstacle if may_change else "",
        built_in=built_in,
        custom_roles=custom,
    )


def facility_choices(*, tenant_id: int, search: str, chosen: Collection[int]) -> FacilityChoices:
    """The chosen facilities of a tenant, and up to MAX_CHOICES others in whose name, city or site
    every word of the search is found; three queries.
    """
    of_tenant = _with_path(Facility.objects.filter(tenant_id=tenant_id))
    others = of_tenant.exclude(pk__in=chosen)
    for word in search.split():
        others = others.filter(
            Q(name__icontains=word) | Q(city__icontains=word) | Q(path__icontains=word)
        )
    total = others.count()
    return FacilityChoices(
        choices=(
            *(_choice(row, chosen=True) for row in of_tenant.filter(pk__in=chosen)),
            *(_choice(row, chosen=False) for row in others[:MAX_CHOICES]),
        ),
        more=max(0, total - MAX_CHOICES),
    )


def _with_path(facilities: QuerySet[Facility]) -> QuerySet[Facility]:
    """With `path`: the names of up to two sites above, from the outer one."""
    return facilities.annotate(
        path=Case(
            When(parent__isnull=True, then=Value("")),
            When(parent__parent__isnull=True, then=F("parent__name")),
            default=Concat("parent__parent__name", Value(" › "), "parent__name"),
            output_field=CharField(),
        )
    ).order_by("name", "pk")


def _choice(row: Facility, *, chosen: bool) -> FacilityChoice:
    path: str = row.path  # type: ignore[attr-defined]  # annotated by `_with_path`
    return FacilityChoice(row.pk, row.name, path, row.city, chosen)
