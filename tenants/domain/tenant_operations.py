"""Changes to the tenant tree by those above: make, change, suspend and resume a tenant.

A tenant is never moved: its data, its people's roles and its applications rest on what is above it.
All need an open scope with the tenant, and leave an audit row.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import count
from typing import Any, Final

from django.db import IntegrityError, transaction
from django.utils.text import slugify
from django.utils.translation import gettext as _

from tenants.domain import audit
from tenants.domain.authority import NotAllowed, require
from tenants.domain.operations import create_tenant
from tenants.domain.operations_invitations import Offer, invite
from tenants.domain.queries import tenants_below
from tenants.models import AccessToken, Invitation, Membership, Tenant, TenantKind
from tenants.permissions import Permission, Role
from tenants.scope import Scope, open_scope

_SLUG_TAKEN: Final = "tenants_tenant_slug_unique"
_SLUG_LENGTH: Final = 50


class TenantRefused(Exception):  # noqa: N818 - it reads as what happened
    """The tree does not allow it; the text says why."""


@dataclass(frozen=True, slots=True)
class TenantDraft:
    """A tenant to be made; `admin_email` gets an invitation, '' invites nobody."""

    name: str
    kind: TenantKind
    time_zone: str
    language: str
    admin_email: str = ""


@dataclass(frozen=True, slots=True)
class Made:
    """A new tenant, and the invitation of its first administrator."""

    tenant: Tenant
    invitation: Invitation | None


@dataclass(frozen=True, slots=True)
class Cut:
    """Whom a suspension or its end concerns: the people of the tenant and of all below it."""

    tenant_ids: tuple[int, ...]
    user_ids: tuple[int, ...]


@transaction.atomic
def create_below(
    *, parent_id: int, draft: TenantDraft, now: datetime, actor_id: int | None
) -> Made:
    """A new tenant below another, which its maker administers from there.

    The entry point has the invitation's mail sent after commit. Raises Tenant.DoesNotExist,
    NotAllowed, TenantRefused, ValidationError, CannotInvite.
    """
    require(actor_id=actor_id, tenant_id=parent_id, to=Permission.TENANTS_CHANGE)
    parent = Tenant.objects.get(pk=parent_id)
    if parent.kind == TenantKind.CLIENT:
        raise TenantRefused(
            _("%(tenant)s is a client: only operators and resellers have tenants below them.")
            % {"tenant": parent.name}
        )
    if parent.suspended_at is not None:
        raise TenantRefused(_("%(tenant)s is suspended.") % {"tenant": parent.name})
    if draft.kind == TenantKind.OPERATOR:
        raise TenantRefused(_("An operator stands at the top of a tree, never below a tenant."))
    tenant = _create(parent_id, draft, actor_id)
    if not draft.admin_email:
        return Made(tenant, None)
    with open_scope(Scope((tenant.pk,))):
        offer = Offer(role=Role.ADMIN, facility_ids=None, language=draft.language)
        return Made(
            tenant,
            invite(
                tenant_id=tenant.pk,
                email=draft.admin_email,
                offer=offer,
                now=now,
                actor_id=actor_id,
            ),
        )


def _create(parent_id: int, draft: TenantDraft, actor_id: int | None) -> Tenant:
    """The tenant, with the first short name that nobody has: whose it is, is nobody's business."""
    for slug in _slugs(draft.name):
        try:
            with transaction.atomic():
                return create_tenant(
                    name=draft.name,
                    slug=slug,
                    kind=draft.kind,
                    parent_id=parent_id,
                    actor_id=actor_id,
                    time_zone=draft.time_zone,
                    language=draft.language,
                )
        except IntegrityError as error:
            if _SLUG_TAKEN not in str(error):
                raise
    raise AssertionError("there is always another number")


def _slugs(name: str) -> Iterator[str]:
    base = slugify(name)[:_SLUG_LENGTH].strip("-") or "tenant"
    yield base
    for number in count(2):
        yield f"{base}-{number}"


@transaction.atomic
def change_tenant(*, tenant_id: int, values: dict[str, Any], actor_id: int | None) -> bool:
    """Change name, time zone or language; False when nothing changed.

    Raises Tenant.DoesNotExist, NotAllowed, ValidationError.
    """
    require(actor_id=actor_id, tenant_id=tenant_id, to=Permission.TENANTS_CHANGE)
    tenant = Tenant.objects.select_for_update(no_key=True).get(pk=tenant_id)
    return audit.update(tenant, values, actor_id=actor_id, action="tenant.change")


@transaction.atomic
def suspend(*, tenant_id: int, now: datetime, actor_id: int | None) -> Cut:
    """Refuse the people and applications of a tenant and of all below it, until it is resumed.

    Access tokens end; what was allowed stays allowed. The entry point tells open pages after
    commit. Raises Tenant.DoesNotExist, NotAllowed, TenantRefused for one's own tenant.
    """
    tenant = _from_above(tenant_id, actor_id)
    audit.update(
        tenant, {"suspended_at": now}, actor_id=actor_id, action="tenant.suspend", validate=False
    )
    cut = _cut(tenant_id)
    AccessToken.revoke_where(tenant_id__in=cut.tenant_ids)
    return cut


@transaction.atomic
def resume(*, tenant_id: int, actor_id: int | None) -> Cut:
    """Let a suspended tenant in again, as it was; raises like `suspend`."""
    tenant = _from_above(tenant_id, actor_id)
    audit.update(
        tenant, {"suspended_at": None}, actor_id=actor_id, action="tenant.resume", validate=False
    )
    return _cut(tenant_id)


def _from_above(tenant_id: int, actor_id: int | None) -> Tenant:
    """The tenant, locked, if the actor's role is held in a tenant above it."""
    tenant = Tenant.objects.select_for_update(no_key=True).get(pk=tenant_id)
    require(actor_id=actor_id, tenant_id=tenant_id, to=Permission.TENANTS_CHANGE)
    if tenant.parent_id is None:
        raise TenantRefused(_("An operator is not suspended: nobody could resume it."))
    if actor_id is not None:
        try:
            require(actor_id=actor_id, tenant_id=tenant.parent_id, to=Permission.TENANTS_CHANGE)
        except NotAllowed:
            raise TenantRefused(
                _("Nobody suspends or resumes their own tenant: ask who is above it.")
            ) from None
    return tenant


def _cut(tenant_id: int) -> Cut:
    ids = tuple(facts.tenant_id for facts in tenants_below(tenant_ids=[tenant_id])[tenant_id])
    members = Membership.objects.filter(tenant_id__in=ids).values_list("user_id", flat=True)
    return Cut(ids, tuple(sorted(set(members))))
