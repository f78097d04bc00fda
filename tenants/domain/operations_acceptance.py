"""Becoming a member by an invitation.

Who holds the token of an invitation has read the mail, and may accept as a new user or, signed in
under that very address, as an existing one. Accepting asks again whether the inviter may still give
that much, so that whoever has lost a right cannot pass it on by a mail sent before.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.utils.translation import gettext as _

from tenants.domain import audit
from tenants.domain.authority import NotAllowed, UnknownRole, lock_people
from tenants.domain.company_queries import demanded_of_newcomer
from tenants.domain.operations import create_user, grant_membership
from tenants.domain.queries_invitations import (
    InvitationFacts,
    InvitationState,
    NotAcceptable,
    UnknownInvitation,
    digest_of,
    find_invitation,
    role_of,
    state_of,
)
from tenants.models import Invitation, Membership, User
from tenants.scope import Scope, open_scope


class WrongPerson(Exception):  # noqa: N818 - it reads as what happened
    """The invitation is for another address than the user's; the text says what to do."""


class SignInFirst(Exception):  # noqa: N818 - it reads as what happened
    """The address has an account: whoever accepts must have signed in to it."""


class CompanySignInFirst(Exception):  # noqa: N818 - it reads as what happened
    """The organisation of the address demands its own sign-in, which makes the account."""


@dataclass(frozen=True, slots=True)
class NewPerson:
    """What a new user says of himself; the password has passed the validators."""

    name: str
    password: str
    language: str
    time_zone: str


@dataclass(frozen=True, slots=True)
class Accepted:
    """What came of an invitation.

    `granted`: the membership is new, and shall reach `facility_ids` (None: everything); else the
    user was a member already and nothing changed. `created`: so is the account.
    """

    user: User
    membership: Membership
    facility_ids: tuple[int, ...] | None
    granted: bool
    created: bool


def accept_invitation(
    *, token: str, now: datetime, user: User | None = None, person: NewPerson | None = None
) -> Accepted:
    """Become a member, as the signed-in `user` or as a new `person`. Opens the scope itself.

    The facilities are the part of `devices.domain.joining`, which calls this one. Raises
    NotAcceptable, WrongPerson, SignInFirst, CompanySignInFirst, and ValidationError for a bad
    name.
    """
    try:
        found = find_invitation(token=token, now=now)
    except UnknownInvitation:
        raise NotAcceptable(InvitationState.UNKNOWN) from None
    if found.state is not InvitationState.OPEN:
        raise NotAcceptable(found.state)
    with open_scope(Scope((found.tenant_id,))):
        lock_people(tenant_id=found.tenant_id)
        invitation = Invitation.objects.select_for_update().get(pk=found.invitation_id)
        state = state_of(invitation, now=now)
        if state is not InvitationState.OPEN or invitation.token_sha256 != digest_of(token):
            raise NotAcceptable(InvitationState.UNKNOWN if state is InvitationState.OPEN else state)
        accepting = _accepting(found, user, person)
        membership, granted = _membership(invitation, accepting)
        audit.update(
            invitation,
            {"accepted_at": now, "accepted_by_id": accepting.pk},
            actor_id=accepting.pk,
            action="invitation.accept",
            validate=False,
        )
    facility_ids = invitation.facility_ids
    return Accepted(
        user=accepting,
        membership=membership,
        facility_ids=None if facility_ids is None else tuple(facility_ids),
        granted=granted,
        created=user is None,
    )


def _accepting(found: InvitationFacts, user: User | None, person: NewPerson | None) -> User:
    if user is not None:
        if user.email != found.email:
            raise WrongPerson(
                _(
                    "This invitation is for %(invited)s, and you are signed in as %(user)s. Sign "
                    "out, then open the link again."
                )
                % {"invited": found.email, "user": user.email}
            )
        return user
    if person is None or User.objects.filter(email=found.email).exists():
        raise SignInFirst
    if demanded_of_newcomer(email=found.email, tenant_id=found.tenant_id) is not None:
        raise CompanySignInFirst
    return create_user(
        email=found.email,
        password=person.password,
        name=person.name,
        language=person.language,
        time_zone=person.time_zone,
    )


def _membership(invitation: Invitation, user: User) -> tuple[Membership, bool]:
    """The membership, and whether it is new, given by the inviter; any other stays as it is."""
    present = Membership.objects.filter(tenant_id=invitation.tenant_id, user=user).first()
    if present is not None:
        return present, False
    try:
        membership = grant_membership(
            tenant_id=invitation.tenant_id,
            user_id=user.pk,
            role=role_of(invitation),
            actor_id=invitation.invited_by_id,
            narrowed=invitation.facility_ids is not None,
            accepted_by_id=user.pk,
        )
    except (NotAllowed, UnknownRole):
        raise NotAcceptable(InvitationState.WITHDRAWN) from None
    return membership, True
