"""What the rest of the installation is told when people change: tokens, sockets, mail."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from django.db import transaction

from portal.account.tasks import demand_second_factor
from portal.feed.notices import memberships_changed
from portal.tasks import send_invitation
from tenants.domain.oauth_operations import access_changed
from tenants.models import Invitation, Membership
from tenants.scope import Scope, open_scope


def changed(user_ids: Iterable[int]) -> None:
    """Roles or facilities of users changed: effective at once in tokens and open pages.

    In the scope of the change, before its commit. A role may demand a second factor that the one
    before did not.
    """
    told = list(user_ids)
    for user_id in told:
        access_changed(user_id=user_id)
        transaction.on_commit(partial(memberships_changed, user_id))
    transaction.on_commit(partial(demand_second_factor.delay, user_ids=told))


def invited(invitations: Iterable[Invitation]) -> None:
    """Have the mails of invitations written, after the commit."""
    for invitation in invitations:
        transaction.on_commit(
            partial(
                send_invitation.delay,
                tenant_id=invitation.tenant_id,
                invitation_id=invitation.pk,
            )
        )


def joined(membership: Membership) -> None:
    """Somebody became a member: tokens and open pages of an existing user learn of it."""
    with open_scope(Scope((membership.tenant_id,))):
        changed([membership.user_id])
