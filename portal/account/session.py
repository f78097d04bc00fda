"""A browser's session: how it begins, which ones a person has, and how they end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from importlib import import_module
from typing import Final
from uuid import UUID

from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.conf import settings
from django.contrib import auth
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.models import Session
from django.db import transaction
from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone, translation

from portal.account import devices, events
from portal.account.devices import Device
from portal.feed.notices import memberships_changed
from portal.middleware import client_address
from portal.oauth import session as sign_on
from portal.tasks import send_mail
from tenants.domain.audit import record_event
from tenants.domain.company_queries import (
    below,
    needs_second_factor,
    route_of,
    tenants_of_member,
)
from tenants.models import User

# Session key: the session stands in the person's list, so its last use is kept there.
LISTED: Final = "listed"
# Session key: how the person proved who it is.
METHOD: Final = "sign_in_method"
# Session key: the person has to set up a second factor before anything else.
SET_UP: Final = "must_set_up_second_factor"
# An organisation that signs its people in itself asks for its own second factor.
_BEYOND_US: Final = frozenset({"company"})
# Session key: who was signed in while somebody is signing in once more.
_FORMER: Final = "signed_in_before"
# Attribute of a request whose response has the browser remembered (`middleware.py`).
REMEMBER: Final = "_remember_device_of"
_BACKEND: Final = "django.contrib.auth.backends.ModelBackend"


def sign_in(request: HttpRequest, user: User, *, method: str, before: Sequence[str] = ()) -> None:
    """Sign `user` in, who has proven by `method` who it is, after the steps `before` it.

    The session gets a new key; when somebody else was signed in, that session ends everywhere
    first. The session is listed, and the person told of it by e-mail when the browser is new.
    """
    former = request.session.pop(_FORMER, None)
    if isinstance(request.user, User):
        former = request.user.pk
    if former is not None and former != user.pk:
        sign_on.end_everywhere(sign_on.known_sid(request))
        auth.logout(request)
    is_first = user.last_login is None
    key_before = request.session.session_key
    auth.login(request, user, backend=_BACKEND)
    UserSession.objects.filter(session_key=key_before).delete()
    sign_on.note_authentication(request)
    sign_on.note_methods(request, [*before, method])
    request.session[METHOD] = method
    request.session[LISTED] = True
    if method not in _BEYOND_US and must_set_up(user):
        request.session[SET_UP] = True
    _list(request, user)
    record_event(user_id=user.pk, action="session.begin", details={"method": method})
    setattr(request, REMEMBER, user.pk)
    if not is_first and not devices.is_known(request, user.pk):
        _tell_of_new_device(request, user)


def must_set_up(user: User) -> bool:
    """Whether the person's organisation demands a second factor, and there is none."""
    if not needs_second_factor(user_id=user.pk):
        return False
    factors = Authenticator.objects.filter(user=user)
    return not factors.exclude(type=Authenticator.Type.RECOVERY_CODES).exists()


def lead_to_set_up(request: HttpRequest) -> None:
    """Whoever is signed in has joined a tenant: it may demand a second factor that is missing."""
    if not isinstance(request.user, User) or request.session.get(METHOD) in _BEYOND_US:
        return
    if must_set_up(request.user):
        request.session[SET_UP] = True
        # Before the task that ends the person's other sessions looks at this one.
        request.session.save()


def leave_company_behind(request: HttpRequest) -> None:
    """Whoever is signed in has joined a tenant that the own organisation may not speak for.

    Sessions that its provider began would reach that tenant, too: they end. The one that asks may
    go on, since the invitation has proven who holds it.
    """
    user = request.user
    if not isinstance(user, User):
        return
    route = route_of(email=user.email)
    reach = below(tenant_id=route.tenant_id) if route else frozenset[int]()
    if tenants_of_member(user_id=user.pk) <= reach:
        return
    current = request.session.session_key
    end_sessions(
        [
            one
            for one, stored in _stored(user.pk)
            if stored.get(METHOD) in _BEYOND_US and one.session_key != current
        ]
    )


def ask_again(request: HttpRequest, user: User) -> None:
    """Somebody who is signed in has begun to sign in once more, as `user`.

    The session is nobody's until that is done. It keeps what applications know it by, as long as it
    is the same person who comes back.
    """
    if request.user == user:
        UserSession.objects.filter(session_key=request.session.session_key).delete()
        for name in (auth.SESSION_KEY, auth.BACKEND_SESSION_KEY, auth.HASH_SESSION_KEY):
            request.session.pop(name, None)
        request.session[_FORMER] = user.pk
        request.user = AnonymousUser()
    else:
        end(request)


def end(request: HttpRequest) -> None:
    """End the session of this browser, in every application too."""
    if isinstance(request.user, User):
        record_event(user_id=request.user.pk, action="session.end")
    sign_on.end_everywhere(sign_on.known_sid(request))
    UserSession.objects.filter(session_key=request.session.session_key).delete()
    auth.logout(request)


def signed_in_lately(request: HttpRequest) -> bool:
    """Whether the person has signed in within the time that a proof of identity holds."""
    age = timezone.now() - sign_on.authenticated_at(request)
    return age < timedelta(seconds=settings.ACCOUNT_REAUTHENTICATION_TIMEOUT)


def _list(request: HttpRequest, user: User) -> None:
    now = timezone.now()
    values = {
        "user": user,
        "ip": client_address(request) or "0.0.0.0",  # noqa: S104 - of a Unix socket; not bound
        "user_agent": request.headers.get("User-Agent", "")[:200],
        "last_seen_at": now,
    }
    UserSession.objects.update_or_create(
        session_key=request.session.session_key, defaults=values, create_defaults=values
    )


def _tell_of_new_device(request: HttpRequest, user: User) -> None:
    with translation.override(user.language):
        context = {
            "name": user.get_full_name(),
            "action_url": f"{settings.PUBLIC_URL}{reverse('account-sessions')}",
            **events.circumstances(request, user),
        }
    send = partial(
        send_mail.delay,
        template="new_device",
        to=user.email,
        language=user.language,
        context=context,
    )
    transaction.on_commit(send)


@dataclass(frozen=True, slots=True)
class SessionFacts:
    """One place where a person is signed in; `is_current` for the one that asks."""

    session_id: int
    device: Device
    address: str
    signed_in_at: datetime
    last_seen_at: datetime
    is_current: bool


def sessions_of(*, user_id: int, current_key: str | None) -> tuple[SessionFacts, ...]:
    """Sessions of a user that still hold, the current one first, then by last use; two queries."""
    listed = list(UserSession.objects.filter(user_id=user_id))
    alive = set(
        Session.objects.filter(
            session_key__in=[session.session_key for session in listed],
            expire_date__gt=timezone.now(),
        ).values_list("session_key", flat=True)
    )
    facts = [
        SessionFacts(
            session_id=session.pk,
            device=devices.describe(session.user_agent),
            address=session.ip,
            signed_in_at=session.created_at,
            last_seen_at=session.last_seen_at,
            is_current=session.session_key == current_key,
        )
        for session in listed
        if session.session_key in alive
    ]
    return tuple(sorted(facts, key=lambda s: (not s.is_current, -s.last_seen_at.timestamp())))


def end_session(*, user_id: int, session_id: int) -> None:
    """End one session of the user; raises UserSession.DoesNotExist for anybody else's."""
    record_event(user_id=user_id, action="session.end")
    end_sessions([UserSession.objects.get(pk=session_id, user_id=user_id)])


def end_other_sessions(*, user_id: int, current_key: str | None) -> int:
    """End all sessions of the user but the current one; returns how many there were."""
    others = list(UserSession.objects.filter(user_id=user_id).exclude(session_key=current_key))
    end_sessions(others)
    return len(others)


def end_all_sessions(*, user_id: int) -> None:
    """End all sessions of the user."""
    end_sessions(list(UserSession.objects.filter(user_id=user_id)))


def end_sessions_by_other_ways(*, user_id: int) -> None:
    """End the sessions of the user that did not begin at the person's organisation."""
    end_sessions([one for one, stored in _stored(user_id) if stored.get(METHOD) != "company"])


def end_sessions_without_second_factor(*, user_id: int) -> None:
    """End the sessions of the user that would go on without a second factor."""
    end_sessions(
        [
            one
            for one, stored in _stored(user_id)
            if stored.get(METHOD) not in _BEYOND_US and not stored.get(SET_UP)
        ]
    )


def _stored(user_id: int) -> list[tuple[UserSession, SessionBase]]:
    store = import_module(settings.SESSION_ENGINE).SessionStore
    listed = UserSession.objects.filter(user_id=user_id)
    return [(one, store(one.session_key)) for one in listed]


def renamed(request: HttpRequest, *, former_key: str | None) -> None:
    """The session of this browser has got another key while its person stayed signed in."""
    UserSession.objects.filter(session_key=former_key).update(
        session_key=request.session.session_key
    )


def end_sessions(sessions: list[UserSession]) -> None:
    """End sessions at once: pages, sockets, and every application that they signed in to."""
    store = import_module(settings.SESSION_ENGINE).SessionStore
    for session in sessions:
        stored = store(session.session_key)
        sid = stored.get(sign_on.SID)
        if sid:
            sign_on.end_everywhere(UUID(sid))
        stored.delete()
        session.delete()
    for user_id in {session.user_id for session in sessions}:
        transaction.on_commit(partial(memberships_changed, user_id))
