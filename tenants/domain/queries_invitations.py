"""What becomes of invitations."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from hashlib import sha256

from django.db import connection
from django.utils.functional import Promise
from django.utils.translation import gettext as _

from tenants.domain.authority import RoleChoice
from tenants.models import Invitation, User
from tenants.permission_texts import ROLE_TEXTS
from tenants.permissions import CUSTOM_ROLE, Role


class InvitationState(StrEnum):
    """How an invitation stands; all but the last three are states of a row.

    `WITHDRAWN`: the inviter may not give that much any more.
    """

    OPEN = "open"
    ACCEPTED = "accepted"
    REVOKED = "revoked"
    EXPIRED = "expired"
    UNKNOWN = "unknown"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, slots=True)
class InvitationFacts:
    """What the page behind the link of an invitation shows.

    `has_account`: told only to who holds the token, and so has read the mail of the address.
    """

    invitation_id: int
    tenant_id: int
    tenant_name: str
    email: str
    role: str
    role_name: str | Promise
    language: str
    message: str
    invited_by: str
    expires_at: datetime
    state: InvitationState
    has_account: bool


class NotAcceptable(Exception):  # noqa: N818 - it reads as what happened
    """The invitation cannot be accepted any more; `state` says why, the text in words."""

    def __init__(self, state: InvitationState) -> None:
        super().__init__(in_words(state))
        self.state = state


class UnknownInvitation(Exception):  # noqa: N818 - it reads as what happened
    """No invitation has this token: it never had, or a newer mail replaced it."""


def digest_of(token: str) -> str:
    """How a token is stored and looked up: its SHA-256 in hexadecimal digits."""
    return sha256(token.encode()).hexdigest()


def state_of(invitation: Invitation, *, now: datetime) -> InvitationState:
    """How an invitation stands."""
    return _state(invitation.accepted_at, invitation.revoked_at, invitation.expires_at, now=now)


def _state(
    accepted_at: datetime | None,
    revoked_at: datetime | None,
    expires_at: datetime,
    *,
    now: datetime,
) -> InvitationState:
    if accepted_at is not None:
        return InvitationState.ACCEPTED
    if revoked_at is not None:
        return InvitationState.REVOKED
    return InvitationState.EXPIRED if expires_at <= now else InvitationState.OPEN


def find_invitation(*, token: str, now: datetime) -> InvitationFacts:
    """The invitation behind a token; two queries. Needs no scope. Raises UnknownInvitation."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT invitation_id, tenant_id, tenant_name, email, role, role_name, language,"
            " message, invited_by, expires_at, accepted_at, revoked_at FROM door_invitation(%s)",
            [digest_of(token)],
        )
        row = cursor.fetchone()
    if row is None:
        raise UnknownInvitation
    return InvitationFacts(
        invitation_id=row[0],
        tenant_id=row[1],
        tenant_name=row[2],
        email=row[3],
        role=row[4],
        role_name=row[5] or ROLE_TEXTS[row[4]].label,
        language=row[6],
        message=row[7],
        invited_by=row[8] or "",
        expires_at=row[9],
        state=_state(row[10], row[11], row[9], now=now),
        has_account=User.objects.filter(email=row[3]).exists(),
    )


def role_of(invitation: Invitation) -> RoleChoice:
    """The role that an open invitation offers."""
    if invitation.role == CUSTOM_ROLE:
        assert invitation.custom_role_id is not None
        return invitation.custom_role_id
    return Role(invitation.role)


def in_words(state: InvitationState) -> str:
    """Why an invitation cannot be accepted, and what to do."""
    return {
        InvitationState.OPEN: "",
        InvitationState.ACCEPTED: _(
            "This invitation has been used already. Sign in with your account."
        ),
        InvitationState.REVOKED: _(
            "This invitation was taken back. Ask whoever invited you for a new one."
        ),
        InvitationState.EXPIRED: _(
            "This invitation has expired. Ask whoever invited you to send it again."
        ),
        InvitationState.UNKNOWN: _(
            "This invitation does not exist. Check that the link is complete, and use the newest "
            "mail if you were sent several."
        ),
        InvitationState.WITHDRAWN: _(
            "Whoever invited you may not give this role any more. Ask an administrator of the "
            "tenant for a new invitation."
        ),
    }[state]
