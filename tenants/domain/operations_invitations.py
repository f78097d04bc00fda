"""Asking people to become members, by mail; each change leaves an audit row in the transaction.

An invitation names an address. Nothing tells whoever invites whether the address has an account.
The token of its link is drawn by the process that writes the mail (`write_letter`), so that it
passes no queue.

All need an open scope with the tenant.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from django.core.validators import validate_email
from django.db import transaction
from django.db.models import QuerySet
from django.utils.functional import Promise
from django.utils.translation import gettext as _

from tenants.domain import audit
from tenants.domain.authority import RoleChoice, lock_people, require, role_given, role_to_give
from tenants.domain.queries_invitations import (
    InvitationState,
    NotAcceptable,
    digest_of,
    find_invitation,
    role_of,
    state_of,
)
from tenants.models import Invitation, Membership, User
from tenants.permissions import NARROWED_ROLES, Permission

LIFETIME: Final = timedelta(days=7)
# Against using the portal to flood a mailbox, or many.
MAX_REQUESTS: Final = 5
MIN_INTERVAL: Final = timedelta(minutes=1)
MAX_OPEN: Final = 1000
_TOKEN_BYTES: Final = 32


class CannotInvite(Exception):  # noqa: N818 - it reads as what happened
    """The address cannot be invited (again); the text says to the actor why."""


@dataclass(frozen=True, slots=True)
class Offer:
    """What somebody is invited to; `facility_ids` None: the membership will not be narrowed."""

    role: RoleChoice
    facility_ids: tuple[int, ...] | None
    language: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class Letter:
    """What the mail of an invitation says; `token` is in its link and nowhere else.

    `role` is translated when it is written out; `time_zone` is the tenant's.
    """

    token: str
    to: str
    language: str
    tenant: str
    role: str | Promise
    invited_by: str
    message: str
    expires_at: datetime
    time_zone: ZoneInfo


@transaction.atomic
def invite(
    *, tenant_id: int, email: str, offer: Offer, now: datetime, actor_id: int | None
) -> Invitation:
    """Invite an address; the entry point has the mail sent after commit (`write_letter`).

    Raises ValidationError for a bad address, CannotInvite, NotAllowed and UnknownRole.
    """
    lock_people(tenant_id=tenant_id)
    code, custom_role_id, permissions = role_to_give(tenant_id=tenant_id, role=offer.role)
    require(actor_id=actor_id, tenant_id=tenant_id, to=Permission.MEMBERS_CHANGE, over=permissions)
    address = User.objects.normalize_email(email)
    validate_email(address)
    if reason := why_not(tenant_id=tenant_id, emails=[address], now=now).get(address):
        raise CannotInvite(reason)
    _open(tenant_id, address).update(revoked_at=now)  # expired
    facility_ids = offer.facility_ids
    if facility_ids is None and offer.role in NARROWED_ROLES:
        facility_ids = ()
    invitation = Invitation(
        tenant_id=tenant_id,
        email=address,
        role=code,
        custom_role_id=custom_role_id,
        facility_ids=None if facility_ids is None else sorted(set(facility_ids)),
        language=offer.language,
        message=offer.message.strip(),
        invited_by_id=actor_id,
        expires_at=now + LIFETIME,
        requested_at=now,
    )
    invitation.full_clean(exclude=["custom_role"])
    return audit.insert(invitation, actor_id=actor_id, action="invitation.create")


def why_not(*, tenant_id: int, emails: list[str], now: datetime) -> dict[str, str]:
    """Those of the addresses (in stored form) that cannot be invited, with the reason; 3 queries.

    What it tells, the list of members and invitations tells as well.
    """
    members = Membership.objects.filter(tenant_id=tenant_id, user__email__in=emails)
    waiting = Invitation.objects.filter(
        tenant_id=tenant_id, accepted_at__isnull=True, revoked_at__isnull=True, expires_at__gt=now
    )
    reasons = {
        email: _("This address has an open invitation: send it again or revoke it first.")
        for email in waiting.filter(email__in=emails).values_list("email", flat=True)
    }
    if waiting.count() + len(set(emails) - reasons.keys()) > MAX_OPEN:
        full = _("The tenant has too many open invitations: revoke those that nobody needs.")
        reasons = dict.fromkeys(emails, full) | reasons
    for email in members.values_list("user__email", flat=True):
        reasons[email] = _("This person is a member of the tenant already.")
    return reasons


@transaction.atomic
def resend(*, invitation_id: int, now: datetime, actor_id: int | None) -> Invitation:
    """Have the mail sent anew, with a new link that is good for LIFETIME; the former one ends.

    Raises Invitation.DoesNotExist, NotAcceptable when it is closed, CannotInvite when it was sent
    too often or a moment ago, NotAllowed and UnknownRole.
    """
    invitation = _locked_open(invitation_id)
    _require_over(invitation, actor_id)
    if invitation.requests >= MAX_REQUESTS:
        raise CannotInvite(
            _("This was sent %(count)d times already: check the address, then invite it anew.")
            % {"count": invitation.requests}
        )
    if now - invitation.requested_at < MIN_INTERVAL:
        raise CannotInvite(_("This was sent a moment ago: wait a minute."))
    values = {
        "expires_at": now + LIFETIME,
        "requested_at": now,
        "requests": invitation.requests + 1,
        # The offer is now that of whoever sends it again.
        "invited_by_id": actor_id,
        "sent_at": None,
        "token_sha256": None,
    }
    audit.update(invitation, values, actor_id=actor_id, action="invitation.resend", validate=False)
    return invitation


@transaction.atomic
def revoke(*, invitation_id: int, now: datetime, actor_id: int | None) -> Invitation:
    """Take an invitation back; raises Invitation.DoesNotExist, NotAcceptable and NotAllowed."""
    invitation = _locked_open(invitation_id)
    require(actor_id=actor_id, tenant_id=invitation.tenant_id, to=Permission.MEMBERS_CHANGE)
    audit.update(
        invitation,
        {"revoked_at": now},
        actor_id=actor_id,
        action="invitation.revoke",
        validate=False,
    )
    return invitation


@transaction.atomic
def write_letter(*, invitation_id: int, now: datetime) -> Letter | None:
    """Draw a new token for an invitation, in place of any former one, and say what its mail says.

    None when it is not open any more. To be called by the process that sends the mail, which does
    so after the commit.
    """
    invitation = Invitation.objects.select_for_update().filter(pk=invitation_id).first()
    if invitation is None or state_of(invitation, now=now) is not InvitationState.OPEN:
        return None
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    invitation.token_sha256 = digest_of(token)
    invitation.save(update_fields=["token_sha256"])
    facts = find_invitation(token=token, now=now)
    return Letter(
        token=token,
        to=facts.email,
        language=facts.language,
        tenant=facts.tenant_name,
        role=facts.role_name,
        invited_by=facts.invited_by,
        message=facts.message,
        expires_at=facts.expires_at,
        time_zone=ZoneInfo(invitation.tenant.time_zone),
    )


def note_sent(*, invitation_id: int, now: datetime) -> None:
    """The mail of an invitation has gone out."""
    Invitation.objects.filter(pk=invitation_id).update(sent_at=now)


def _open(tenant_id: int, email: str) -> QuerySet[Invitation]:
    return Invitation.objects.filter(
        tenant_id=tenant_id, email=email, accepted_at__isnull=True, revoked_at__isnull=True
    )


def _locked_open(invitation_id: int) -> Invitation:
    """The invitation, after its tenant's people were locked; raises NotAcceptable when closed."""
    lock_people(tenant_id=Invitation.objects.get(pk=invitation_id).tenant_id)
    invitation = Invitation.objects.select_for_update().get(pk=invitation_id)
    if invitation.accepted_at is not None:
        raise NotAcceptable(InvitationState.ACCEPTED)
    if invitation.revoked_at is not None:
        raise NotAcceptable(InvitationState.REVOKED)
    return invitation


def _require_over(invitation: Invitation, actor_id: int | None) -> None:
    role = role_given(tenant_id=invitation.tenant_id, role=role_of(invitation))
    require(
        actor_id=actor_id,
        tenant_id=invitation.tenant_id,
        to=Permission.MEMBERS_CHANGE,
        over=role[2],
    )
