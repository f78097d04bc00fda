"""Applications: list, register, change, secret, end."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from devices.domain import people as reading
from portal.enterprise.administration import application_pages as pages
from portal.enterprise.administration.application_forms import ApplicationForm, initial_of
from portal.frame.listing import render_list
from portal.frame.permissions import access_of, may, requires
from tenants.domain import application_operations, application_queries, oauth_operations
from tenants.domain.application_operations import FirstParty, NoSecret
from tenants.domain.authority import NotAllowed
from tenants.models import Application, ApplicationKind, Consent, User
from tenants.permissions import Permission

_FOLDER = "enterprise/administration"


@require_safe
@never_cache
@requires(Permission.APPLICATIONS_VIEW)
def applications(request: HttpRequest) -> HttpResponseBase:
    """The applications of the tenant and of those below it."""
    return render_list(
        request,
        table_class=pages.ApplicationTable,
        rows=application_queries.application_rows(now=datetime.now(UTC)),
        filterset_class=pages.ApplicationFilterSet,
        template=f"{_FOLDER}/applications.html",
        context={"may_change": may(request, Permission.APPLICATIONS_CHANGE)},
    )


@require_safe
@never_cache
@requires(Permission.APPLICATIONS_VIEW)
def application(request: HttpRequest, *, pk: int) -> HttpResponse:
    """One application: what it is, whom it serves, how to try it."""
    return _page(request, pk)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(Permission.APPLICATIONS_CHANGE)
def register(request: HttpRequest) -> HttpResponse:
    """Choose a kind, then fill in what that kind needs; the secret is shown once."""
    access = access_of(request)
    assert access is not None
    chosen = request.GET.get("kind", "")
    if chosen not in ApplicationKind.values:
        return render(request, f"{_FOLDER}/application_kinds.html", {"kinds": pages.kinds()})
    kind = ApplicationKind(chosen)
    form = ApplicationForm(request.POST if request.method == "POST" else None, kind=kind)
    if request.method == "POST" and form.is_valid():
        made = Application(
            tenant_id=access.tenant.tenant_id,
            client_type=kind.client_type,
            authorization_grant_type=kind.grant_type,
            **form.values(),
        )
        try:
            secret = application_operations.register_application(made, actor_id=_user(request).pk)
        except (ValidationError, NotAllowed) as error:
            _add_errors(form, error)
        else:
            messages.success(request, _("The application has been registered."))
            return _page(request, made.pk, secret=secret) if secret else _to(made.pk)
    return _form_page(request, form, tenant_id=access.tenant.tenant_id)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(Permission.APPLICATIONS_CHANGE)
def change(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Change what the application was registered with."""
    row = _found(pk).application
    if row.skip_authorization:
        return _refused(request, pk, FirstParty())
    data = request.POST if request.method == "POST" else None
    form = ApplicationForm(data, kind=row.kind, initial=initial_of(row))
    if request.method == "POST" and form.is_valid():
        try:
            changed = application_operations.change_application(
                application_id=pk, values=form.values(), actor_id=_user(request).pk
            )
        except (ValidationError, NotAllowed) as error:
            _add_errors(form, error)
        else:
            if changed:
                messages.success(request, _("The application has been changed."))
            return _to(pk)
    return _form_page(request, form, tenant_id=row.tenant_id, application=row)


@require_POST
@never_cache
@requires(Permission.APPLICATIONS_CHANGE)
def rotate_secret(request: HttpRequest, *, pk: int) -> HttpResponse:
    """A new secret, shown once; the old one stops working at once."""
    try:
        secret = application_operations.rotate_application_secret(
            application_id=pk, actor_id=_user(request).pk
        )
    except Application.DoesNotExist:
        raise Http404 from None
    except (FirstParty, NoSecret, NotAllowed) as error:
        return _refused(request, pk, error)
    return _page(request, pk, secret=secret)


@require_POST
@never_cache
@requires(Permission.APPLICATIONS_CHANGE)
def deactivate(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Refuse the application and end its tokens."""
    return _done(
        request,
        pk,
        application_operations.deactivate_application,
        _("The application is refused now."),
    )


@require_POST
@never_cache
@requires(Permission.APPLICATIONS_CHANGE)
def activate(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Let the application in again."""
    return _done(
        request,
        pk,
        application_operations.activate_application,
        _("The application is let in again."),
    )


@require_POST
@never_cache
@requires(Permission.APPLICATIONS_CHANGE)
def revoke_tokens(request: HttpRequest, *, pk: int) -> HttpResponse:
    """End everything that was issued to the application."""
    return _done(
        request,
        pk,
        application_operations.revoke_application_tokens,
        _("All tokens of the application are invalid now."),
    )


@require_POST
@never_cache
@requires(Permission.APPLICATIONS_CHANGE)
def revoke_consent(request: HttpRequest, *, pk: int, consent: int) -> HttpResponse:
    """Take back what one person allowed the application."""
    try:
        oauth_operations.revoke_consent(
            consent_id=consent, actor_id=_user(request).pk, own_only=False, application_id=pk
        )
    except Consent.DoesNotExist:
        raise Http404 from None
    messages.success(request, _("The permission has been revoked; its tokens are invalid now."))
    return _to(pk)


Operation = Callable[..., None]


def _done(request: HttpRequest, pk: int, operation: Operation, text: str) -> HttpResponse:
    try:
        operation(application_id=pk, actor_id=_user(request).pk)
    except Application.DoesNotExist:
        raise Http404 from None
    except FirstParty as error:
        return _refused(request, pk, error)
    messages.success(request, text)
    return _to(pk)


def _refused(request: HttpRequest, pk: int, error: Exception) -> HttpResponse:
    texts = {
        FirstParty: _("This application asks nobody for consent: change it at the command line."),
        NoSecret: _("An application of this kind has no secret."),
    }
    messages.error(request, texts.get(type(error), str(error)))
    return _to(pk)


def _page(request: HttpRequest, pk: int, *, secret: str = "") -> HttpResponse:
    change = may(request, Permission.APPLICATIONS_CHANGE)
    context = pages.detail(_found(pk), may_change=change)
    context["secret"] = secret
    return render(request, f"{_FOLDER}/application.html", context)


def _form_page(
    request: HttpRequest, form: ApplicationForm, *, tenant_id: int, **context: Any
) -> HttpResponse:
    if "facilities" in form.fields:
        found = reading.facility_choices(tenant_id=tenant_id, search="", chosen=form.chosen())
        form.show(found, tenant_id=tenant_id)
    context |= {"form": form, "kind": form.kind.label}
    status = 422 if form.is_bound else 200
    return render(request, f"{_FOLDER}/application_form.html", context, status=status)


def _add_errors(form: ApplicationForm, error: ValidationError | NotAllowed) -> None:
    """What the operation found, at the fields that the form has."""
    if isinstance(error, NotAllowed):
        form.add_error(None, str(error))
        return
    for name, texts in error.message_dict.items():
        form.add_error(name if name in form.fields else None, texts)


def _found(pk: int) -> application_queries.ApplicationDetail:
    try:
        return application_queries.application_detail(application_id=pk, now=datetime.now(UTC))
    except Application.DoesNotExist:
        raise Http404 from None


def _to(pk: int) -> HttpResponse:
    return redirect("application", pk=pk)


def _user(request: HttpRequest) -> User:
    assert isinstance(request.user, User)
    return request.user
