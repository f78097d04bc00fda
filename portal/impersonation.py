"""Impersonation at the edge of the portal: what a session notes of it, and which pages it opens.

The session stays the supporter's own. It notes which impersonation it is in; each request and each
look of a socket asks the database whether that stands (`devices.domain.acting`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from django.contrib.sessions.backends.base import SessionBase
from django.db import transaction
from django.http import HttpRequest
from django.urls import ResolverMatch
from django.utils import timezone

from devices.domain.acting import Acting, act_as
from portal.feed.notices import memberships_changed
from portal.frame.permissions import GUARDED
from tenants.domain import impersonation
from tenants.models import Impersonation, User
from tenants.scope import Scope, open_scope

# Session key: id and tenant of the impersonation.
_NOTED: Final = "impersonation"

# Pages that ask for no permission and concern no account. Everything else that asks for none is the
# person's own (profile, password, sessions, consents, languages): refused.
_OPEN_ROUTES: Final = frozenset(
    {"overview", "search", "search-suggest", "design", "impersonation-end"}
)
# Signing out ends the impersonation first, and then the supporter's own session.
SIGN_OUT_ROUTES: Final = frozenset({"logout", "oauth:logout", "oauth:logout-confirm"})


@dataclass(frozen=True, slots=True)
class Noted:
    """What a session notes."""

    impersonation_id: int
    tenant_id: int


@dataclass(frozen=True, slots=True)
class Shown:
    """What the banner tells: who acts as whom, why, and until when."""

    supporter: User
    person: User
    tenant_name: str
    reason: str
    ends_at: datetime

    @property
    def seconds_left(self) -> int:
        """Until it ends by itself."""
        return max(0, int((self.ends_at - timezone.now()).total_seconds()))

    @property
    def minutes_left(self) -> int:
        """The same in minutes, rounded up."""
        return -(-self.seconds_left // 60)


def noted(session: SessionBase | Mapping[str, Any]) -> Noted | None:
    """The impersonation that a session is in, whether it still stands or not."""
    found = session.get(_NOTED)
    return Noted(found["id"], found["tenant"]) if found else None


def acting(session: SessionBase | Mapping[str, Any], *, user_id: int) -> Acting | None:
    """How the session's user acts as somebody else; None without impersonation.

    Raises ImpersonationEnded. Needs no scope.
    """
    found = noted(session)
    if found is None:
        return None
    return act_as(
        impersonator_id=user_id,
        impersonation_id=found.impersonation_id,
        tenant_id=found.tenant_id,
        now=datetime.now(UTC),
    )


def note(request: HttpRequest, row: Impersonation) -> None:
    """Have the session act as the person from the next request on."""
    request.session[_NOTED] = {"id": row.pk, "tenant": row.tenant_id}
    transaction.on_commit(partial(memberships_changed, row.impersonator_id))


def leave(request: HttpRequest, *, user_id: int) -> bool:
    """End the impersonation that the session is in; False when its time had run out before.

    Opens the scope itself: that of the request is the person's.
    """
    found = noted(request.session)
    if found is None:
        return False
    del request.session[_NOTED]
    now = datetime.now(UTC)
    with open_scope(Scope((found.tenant_id,))):
        ended = impersonation.end(impersonation_id=found.impersonation_id, now=now)
        transaction.on_commit(partial(memberships_changed, user_id))
    return ended


def opens(match: ResolverMatch) -> bool:
    """Whether a page is open to somebody who acts as somebody else.

    It is when it asks for permissions, which impersonation narrows, or is listed above.
    """
    view = match.func
    declared = getattr(getattr(view, "cls", None), "access", None)  # a view of the REST API
    return GUARDED in vars(view) or bool(declared) or match.view_name in _OPEN_ROUTES
