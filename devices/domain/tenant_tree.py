"""The tenant tree with what hangs on each tenant, its own and with all below it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Model, QuerySet

from devices.models import Device, DeviceState, Facility
from tenants.models import Membership, Tenant


class TenantNotFound(Exception):  # noqa: N818 - it reads as what happened
    """No such tenant in the scope."""


@dataclass(frozen=True, slots=True)
class Counts:
    """How many facilities, devices (without revoked ones) and people."""

    facilities: int = 0
    devices: int = 0
    people: int = 0

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.facilities + other.facilities,
            self.devices + other.devices,
            self.people + other.people,
        )


@dataclass(frozen=True, slots=True)
class Node:
    """A tenant of the tree. `children` counts those right below it, `below` all of them.

    `suspended`: it or one above it is; `own` are its own things, `total` those of all below too.
    """

    tenant_id: int
    parent_id: int | None
    name: str
    slug: str
    kind: str
    time_zone: str
    language: str
    created_at: datetime
    suspended_at: datetime | None
    suspended: bool
    children: int
    below: int
    own: Counts
    total: Counts


@dataclass(frozen=True, slots=True)
class Tree:
    """The tenants of the scope; `top` is the one that the reader acts in."""

    nodes: Mapping[int, Node]
    top: int

    def node(self, tenant_id: int) -> Node:
        """One tenant; raises TenantNotFound."""
        if tenant_id not in self.nodes:
            raise TenantNotFound(f"tenant {tenant_id}")
        return self.nodes[tenant_id]

    def branch(self, tenant_id: int) -> tuple[Node, ...]:
        """Those right below a tenant, by name."""
        found = [node for node in self.nodes.values() if node.parent_id == tenant_id]
        return tuple(sorted(found, key=_by_name))

    def path(self, tenant_id: int) -> tuple[Node, ...]:
        """The tenants above one, from the top on."""
        found: list[Node] = []
        above = self._above(self.nodes[tenant_id])
        while above is not None:
            found.insert(0, above)
            above = self._above(above)
        return tuple(found)

    def _above(self, node: Node) -> Node | None:
        return None if node.parent_id is None else self.nodes.get(node.parent_id)

    def search(self, words: Iterable[str], limit: int) -> tuple[Node, ...]:
        """Tenants in whose name or short name every word is found, by name."""
        wanted = [word.casefold() for word in words]
        found = [
            node
            for node in self.nodes.values()
            if all(word in f"{node.name} {node.slug}".casefold() for word in wanted)
        ]
        return tuple(sorted(found, key=_by_name)[:limit])


def tree(*, top: int) -> Tree:
    """The tenants of the scope with their counts; four queries, however many there are."""
    rows = {row.pk: row for row in Tenant.objects.all()}
    own = _counts(rows)
    children: dict[int, list[int]] = {key: [] for key in rows}
    for row in rows.values():
        if row.parent_id in children:
            children[row.parent_id].append(row.pk)
    totals: dict[int, tuple[Counts, int]] = {}
    for key in _from_below(children, rows):
        total, below = own[key], 0
        for child in children[key]:
            total, below = total + totals[child][0], below + totals[child][1] + 1
        totals[key] = (total, below)
    suspended: dict[int, bool] = {}
    nodes: dict[int, Node] = {}
    for key in reversed(list(totals)):  # from above
        row = rows[key]
        suspended[key] = row.suspended_at is not None or suspended.get(row.parent_id or 0, False)
        nodes[key] = Node(
            tenant_id=key,
            parent_id=row.parent_id,
            name=row.name,
            slug=row.slug,
            kind=row.kind,
            time_zone=row.time_zone,
            language=row.language,
            created_at=row.created_at,
            suspended_at=row.suspended_at,
            suspended=suspended[key],
            children=len(children[key]),
            below=totals[key][1],
            own=own[key],
            total=totals[key][0],
        )
    return Tree(nodes, top)


def _by_name(node: Node) -> tuple[str, int]:
    return node.name.casefold(), node.tenant_id


def _counts(tenant_ids: Iterable[int]) -> dict[int, Counts]:
    facilities = _per_tenant(Facility.objects.all())
    devices = _per_tenant(Device.objects.exclude(state=DeviceState.REVOKED))
    people = _per_tenant(Membership.objects.all())
    return {
        key: Counts(facilities.get(key, 0), devices.get(key, 0), people.get(key, 0))
        for key in tenant_ids
    }


def _per_tenant(rows: QuerySet[Model]) -> dict[int, int]:
    counted = rows.order_by().values("tenant").annotate(total=Count("pk"))
    return {row["tenant"]: row["total"] for row in counted}


def _from_below(children: Mapping[int, list[int]], rows: Mapping[int, Tenant]) -> list[int]:
    """The tenants, each after all below it."""
    tops = [key for key, row in rows.items() if row.parent_id not in rows]
    ordered: list[int] = []
    waiting = tops
    while waiting:
        key = waiting.pop()
        ordered.append(key)
        waiting.extend(children[key])
    return ordered[::-1]
