"""The rows of the people list, with what the sign-in knows."""

from __future__ import annotations

from allauth.mfa.models import Authenticator
from django.db.models import Case, Exists, OuterRef, QuerySet, Value, When

from devices.domain.people import people_rows
from tenants.domain.queries import RoleFacts
from tenants.models import Membership


def people(*, roles: tuple[RoleFacts, ...]) -> QuerySet[Membership]:
    """As `devices.domain.people.people_rows`, with `second_factor`: "yes" or "no"."""
    authenticators = Authenticator.objects.filter(
        user_id=OuterRef("user_id"),
        type__in=[Authenticator.Type.TOTP, Authenticator.Type.WEBAUTHN],
    )
    return people_rows(roles=roles).annotate(
        second_factor=Case(When(Exists(authenticators), then=Value("yes")), default=Value("no"))
    )
