"""Becoming a member by an invitation, with the facilities that it names."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from devices.domain.restrictions import known_facilities, restrict
from tenants.domain.operations_acceptance import Accepted, NewPerson, accept_invitation
from tenants.models import User
from tenants.scope import Scope, open_scope


@transaction.atomic
def join(
    *, token: str, now: datetime, user: User | None = None, person: NewPerson | None = None
) -> Accepted:
    """Accept an invitation; see `accept_invitation`. Opens the scope itself.

    A facility that was deleted since is left out: the membership then reaches less, never more.
    """
    accepted = accept_invitation(token=token, now=now, user=user, person=person)
    membership = accepted.membership
    if accepted.facility_ids and accepted.granted:
        with open_scope(Scope((membership.tenant_id,))):
            facility_ids = known_facilities(
                tenant_id=membership.tenant_id, facility_ids=accepted.facility_ids
            )
            restrict(membership_id=membership.pk, facility_ids=sorted(facility_ids), actor_id=None)
    return accepted
