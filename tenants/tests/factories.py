"""Tenants and people for tests, made by the operations that the product uses.

Every name is new, so that tests can run in any order on one database.
"""

from __future__ import annotations

import itertools

from tenants.domain import operations
from tenants.models import Membership, Tenant, TenantKind, User
from tenants.permissions import Role

_numbers = itertools.count(1)


def number() -> int:
    """A number that no other call gave."""
    return next(_numbers)


def operator() -> Tenant:
    """A root of the tenant tree."""
    n = number()
    return operations.create_tenant(
        name=f"Operator {n:06}",
        slug=f"operator-{n}",
        kind=TenantKind.OPERATOR,
        parent_id=None,
        actor_id=None,
    )


def tenant(parent: Tenant | None = None, kind: TenantKind = TenantKind.CLIENT) -> Tenant:
    """A client below `parent`, or below an operator of its own."""
    n = number()
    return operations.create_tenant(
        name=f"Tenant {n:06}",
        slug=f"tenant-{n}",
        kind=kind,
        parent_id=(parent or operator()).pk,
        actor_id=None,
    )


def user(password: str | None = None) -> User:
    """A user without any membership."""
    return operations.create_user(email=f"user{number()}@example.org", password=password)


def member(of: Tenant, role: Role) -> Membership:
    """A membership of a new user; needs an open scope that contains the tenant."""
    return operations.grant_membership(tenant_id=of.pk, user_id=user().pk, role=role, actor_id=None)
