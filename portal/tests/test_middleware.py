"""The scope of a request: whose it is, what is rolled back, what a switch of tenant does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.backends.db import SessionStore
from django.core.exceptions import BadRequest
from django.core.handlers.exception import convert_exception_to_response
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory

from devices.domain import operations
from devices.models import Facility
from devices.tests import factories
from portal.middleware import (
    CURRENT_TENANT,
    OriginMiddleware,
    ScopedRequest,
    ScopeMiddleware,
)
from tenants.domain import operations as people
from tenants.domain.audit import Origin, current_origin
from tenants.models import AuditChannel, Tenant, User
from tenants.permissions import Role
from tenants.scope import NoScope, Scope, open_scope, require_scope


def _answer(
    view: Callable[[HttpRequest], Any], user: User | AnonymousUser, **session: int
) -> tuple[HttpResponse, ScopedRequest]:
    """The view behind the middleware, as Django's handler calls both."""
    request = RequestFactory().get("/")
    request.user = user
    request.session = SessionStore()
    request.session.update(session)
    middleware: ScopeMiddleware

    def handler(request: HttpRequest) -> HttpResponse:
        try:
            return cast(HttpResponse, view(request))
        except Exception as error:
            middleware.process_exception(request, error)
            raise

    middleware = ScopeMiddleware(cast(Any, convert_exception_to_response(handler)))
    response = cast(HttpResponse, middleware(request))
    return response, cast(ScopedRequest, request)


def _seen(request: HttpRequest) -> HttpResponse:
    return HttpResponse(repr(require_scope()))


@pytest.fixture
def ours(db: None) -> Tenant:
    return factories.tenant()


def _member(of: Tenant, role: Role) -> User:
    with open_scope(Scope((of.pk,))):
        return factories.member(of, role).user


def test_request_of_a_member_has_the_scope_of_the_tenant(ours: Tenant) -> None:
    response, request = _answer(_seen, _member(ours, Role.MANAGER))
    assert response.content.decode() == repr(Scope((ours.pk,)))
    assert request.access is not None
    assert request.access.tenant.tenant_id == ours.pk
    with pytest.raises(NoScope):
        require_scope()


def test_request_of_nobody_has_no_scope(db: None) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        with pytest.raises(NoScope):
            require_scope()
        return HttpResponse()

    response, request = _answer(view, AnonymousUser())
    assert (response.status_code, request.access) == (200, None)


def test_request_of_a_user_without_membership_has_an_empty_scope(db: None) -> None:
    response, request = _answer(_seen, factories.user())
    assert response.content.decode() == repr(Scope((), ()))
    assert request.access is None


def test_switched_tenant_is_the_scope(ours: Tenant) -> None:
    below = factories.tenant(ours)
    user = _member(ours, Role.ADMIN)
    response, _ = _answer(_seen, user)
    assert response.content.decode() == repr(Scope(tuple(sorted((ours.pk, below.pk)))))
    response, request = _answer(_seen, user, **{CURRENT_TENANT: below.pk})
    assert response.content.decode() == repr(Scope((below.pk,)))
    assert request.session[CURRENT_TENANT] == below.pk


def test_switch_to_a_tenant_out_of_reach_falls_back_to_the_users_own(ours: Tenant) -> None:
    other = factories.tenant()
    response, request = _answer(_seen, _member(ours, Role.ADMIN), **{CURRENT_TENANT: other.pk})
    assert response.content.decode() == repr(Scope((ours.pk,)))
    assert CURRENT_TENANT not in request.session


def test_membership_that_ended_counts_at_the_next_request(ours: Tenant) -> None:
    with open_scope(Scope((ours.pk,))):
        member = factories.member(ours, Role.MANAGER)
        user = member.user
    assert _answer(_seen, user)[1].access is not None
    with open_scope(Scope((ours.pk,))):
        people.end_membership(membership_id=member.pk, actor_id=None)
    assert _answer(_seen, user)[1].access is None


@pytest.mark.parametrize("error", [None, BadRequest("no")])
def test_changes_of_a_view_that_raises_are_rolled_back(
    ours: Tenant, error: Exception | None
) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        operations.create_facility(tenant_id=ours.pk, name="New", time_zone="UTC", actor_id=None)
        if error:
            raise error
        return HttpResponse()

    response, _ = _answer(view, _member(ours, Role.MANAGER))
    assert response.status_code == (400 if error else 200)
    with open_scope(Scope((ours.pk,))):
        assert Facility.objects.count() == (0 if error else 1)


@pytest.mark.parametrize(
    ("path", "sent", "channel", "address"),
    [
        ("/", "192.0.2.7", "portal", "192.0.2.7"),
        ("/api/v1/me", "2001:db8::1", "api", "2001:db8::1"),
        ("/", "::ffff:192.0.2.7", "portal", "192.0.2.7"),
        ("/", "fe80::1%eth0", "portal", "fe80::1"),
        ("/", "", "portal", None),
    ],
)
def test_what_a_request_changes_comes_from_its_client(
    path: str, sent: str, channel: str, address: str | None
) -> None:
    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse(repr(current_origin()))

    request = RequestFactory().get(path, REMOTE_ADDR=sent, HTTP_X_FORWARDED_FOR="203.0.113.9")
    response = cast(HttpResponse, OriginMiddleware(view)(request))
    assert response.content.decode() == repr(Origin(AuditChannel(channel), address))
    assert current_origin() == Origin(AuditChannel.COMMAND)
