"""Impersonation: whom support may act as, beginning and ending it, and what it allows.

Support never gets a session of somebody else: the session stays the supporter's own, and the edge
(`portal/middleware.py`) has each request act as the person while the row here stands. So nothing of
it outlives the row, and whatever is forgotten falls back to the supporter's own rights.

Why not django-hijack: it signs the browser in as the other person, without reason, limit of time or
narrowing of rights; sockets, the sign-on and the list of sessions would take it for that person.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _

from tenants.domain import audit
from tenants.domain.queries import Access, MembershipFacts, memberships_of, tenants_below
from tenants.models import Impersonation, Membership, User
from tenants.models.impersonation import MAX_DURATION, MIN_REASON
from tenants.permissions import CUSTOM_ROLE, Permission, Role

# What changes who may do what: never done in the name of somebody else.
WITHHELD: Final = frozenset(
    {
        Permission.MEMBERS_CHANGE,
        Permission.MEMBERS_IMPERSONATE,
        Permission.ROLES_CHANGE,
        Permission.APPLICATIONS_CHANGE,
        Permission.SIGN_ON_CHANGE,
        Permission.TENANTS_CHANGE,
    }
)


class ImpersonationRefused(Exception):  # noqa: N818 - it reads as what happened
    """Nobody may act as this person, or not so; the text says why."""


class ImpersonationEnded(Exception):  # noqa: N818 - it reads as what happened
    """The impersonation ran out, was ended, or what it rests on is gone."""


@dataclass(frozen=True, slots=True)
class ImpersonationFacts:
    """An impersonation that stands. `reason` includes the ticket."""

    impersonation_id: int
    tenant_id: int
    tenant_name: str
    membership_id: int
    person: User
    reason: str
    ends_at: datetime


def candidate_rows(*, access: Access) -> QuerySet[Membership]:
    """Members of the scope whom the supporter may perhaps act as, by tenant and address.

    Who has a role above it somewhere else is found out by `begin`. Needs an open scope.
    """
    rows = Membership.objects.filter(user__is_active=True, suspended_at__isnull=True)
    refused = Q(role__in=[Role.OPERATOR.value, Role.SUPPORT.value]) | Q(
        role=CUSTOM_ROLE,
        custom_role__permissions__contains=[Permission.MEMBERS_IMPERSONATE.value],
    )
    # Who administers the supporter's own tenant is not below.
    refused |= Q(tenant=access.membership.tenant.tenant_id, role=Role.ADMIN.value)
    refused |= Q(user=access.membership.user_id)
    found = rows.exclude(refused).select_related("user", "tenant", "custom_role")
    return found.order_by("tenant__name", "user__email")


def candidate(*, membership_id: int, access: Access) -> Membership:
    """The member who is to be acted as; raises Membership.DoesNotExist, ImpersonationRefused."""
    membership = Membership.objects.select_related("user", "tenant").get(pk=membership_id)
    _check(membership, access)
    return membership


@transaction.atomic
def begin(
    *, access: Access, membership_id: int, reason: str, ticket: str, now: datetime
) -> Impersonation:
    """Let the supporter, who acts by `access`, act as a member of the scope from now on.

    The entry point tells the person by e-mail after commit. Raises Membership.DoesNotExist outside
    the scope, ImpersonationRefused, ValidationError.
    """
    reason = " ".join(reason.split())
    if len(reason) < MIN_REASON:
        raise ImpersonationRefused(
            _("Write the reason in at least %(count)d characters: the person will read it.")
            % {"count": MIN_REASON}
        )
    membership = candidate(membership_id=membership_id, access=access)
    row = Impersonation(
        tenant_id=membership.tenant_id,
        impersonator_id=access.membership.user_id,
        person=membership.user,
        membership_id=membership.pk,
        reason=reason,
        ticket=ticket.strip(),
        started_at=now,
        ends_at=now + MAX_DURATION,
    )
    row.full_clean(exclude=["tenant", "impersonator", "person"])
    return audit.insert(row, actor_id=access.membership.user_id, action="impersonation.begin")


@transaction.atomic
def end(*, impersonation_id: int, now: datetime, by_itself: bool = False) -> bool:
    """End an impersonation, at the latest when its time was up; False when it was ended before.

    Needs an open scope that contains its tenant.
    """
    row = (
        Impersonation.objects.select_for_update(of=("self",))
        .select_related("person")
        .filter(pk=impersonation_id, ended_at__isnull=True)
        .first()
    )
    if row is None:
        return False
    return audit.update(
        row,
        {"ended_at": min(now, row.ends_at)},
        actor_id=None if by_itself else row.impersonator_id,
        action="impersonation.end",
        validate=False,
    )


def end_expired(*, now: datetime) -> tuple[int, ...]:
    """End every impersonation of the scope whose time is up; returns the supporters."""
    rows = Impersonation.objects.filter(ended_at__isnull=True, ends_at__lte=now)
    found = list(rows.order_by("pk").values_list("pk", "impersonator_id"))
    return tuple(
        impersonator_id
        for key, impersonator_id in found
        if end(impersonation_id=key, now=now, by_itself=True)
    )


def standing(*, impersonation_id: int, access: Access, now: datetime) -> ImpersonationFacts:
    """The impersonation, if it still stands for the supporter who acts by `access`.

    Everything that `begin` asked for is asked again. Needs the supporter's scope. Raises
    ImpersonationEnded.
    """
    row = (
        Impersonation.objects.select_related("tenant")
        .filter(
            pk=impersonation_id,
            impersonator=access.membership.user_id,
            ended_at__isnull=True,
            ends_at__gt=now,
        )
        .first()
    )
    if row is None:
        raise ImpersonationEnded
    try:
        membership = candidate(membership_id=row.membership_id, access=access)
    except (Membership.DoesNotExist, ImpersonationRefused):
        raise ImpersonationEnded from None
    return ImpersonationFacts(
        impersonation_id=row.pk,
        tenant_id=row.tenant_id,
        tenant_name=row.tenant.name,
        membership_id=membership.pk,
        person=membership.user,
        reason=row.full_reason,
        ends_at=row.ends_at,
    )


def ceiling(*, supporter: Access) -> frozenset[Permission]:
    """What a supporter may do as somebody else at most."""
    return supporter.permissions - WITHHELD


def _check(membership: Membership, access: Access) -> None:
    """Raises ImpersonationRefused unless the supporter may act as this member."""
    if not access.allows(Permission.MEMBERS_IMPERSONATE):
        raise ImpersonationRefused(_("You may not act as somebody else in this tenant."))
    if membership.user_id == access.membership.user_id:
        raise ImpersonationRefused(_("This is you."))
    if not membership.user.is_active or membership.suspended_at is not None:
        raise ImpersonationRefused(_("This account is closed or suspended: nobody acts as it."))
    held = memberships_of(user_id=membership.user_id)
    if any(
        facts.role == Role.OPERATOR or Permission.MEMBERS_IMPERSONATE in facts.permissions
        for facts in held
    ):
        raise ImpersonationRefused(
            _("Nobody acts as an operator, or as somebody who may act as others.")
        )
    if _is_above(held, access):
        raise ImpersonationRefused(
            _("Nobody acts as an administrator of their own tenant or of one above it.")
        )


def _is_above(held: tuple[MembershipFacts, ...], access: Access) -> bool:
    """Whether any of the memberships administers the tenant that the supporter is a member of."""
    roots = [m.tenant.tenant_id for m in held if Permission.MEMBERS_CHANGE in m.permissions]
    if not roots:
        return False
    own = access.membership.tenant.tenant_id
    below = tenants_below(tenant_ids=roots)
    return any(own in {facts.tenant_id for facts in below[root]} for root in roots)
