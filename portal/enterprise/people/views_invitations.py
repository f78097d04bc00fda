"""Invitations: the list, a new one, many at once, sending again and taking back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from devices.domain.people import facility_choices
from portal.enterprise.people import announce, forms, tables
from portal.enterprise.people.views_people import acting
from portal.frame.listing import render_list
from portal.frame.permissions import may, requires
from tenants.domain import bulk_invitations, operations_invitations
from tenants.domain.authority import NotAllowed, UnknownRole, givable
from tenants.domain.bulk_invitations import TooManyLines
from tenants.domain.operations_invitations import CannotInvite
from tenants.domain.queries_invitations import NotAcceptable
from tenants.domain.queries_people import invitation_rows, role_choices
from tenants.models import Invitation
from tenants.permissions import Permission


@require_safe
@never_cache
@requires(Permission.MEMBERS_VIEW)
def invitations(request: HttpRequest) -> HttpResponseBase:
    """Who was invited, by whom, and what became of it."""
    access, _user = acting(request)
    roles, labels = role_choices(tenant_ids=access.tenant_ids)
    may_change = may(request, Permission.MEMBERS_CHANGE)
    return render_list(
        request,
        table_class=tables.invitations_table(
            several=len(access.tenant_ids) > 1, may_change=may_change
        ),
        rows=invitation_rows(roles=roles, now=datetime.now(UTC)),
        filterset_class=tables.InvitationFilterSet.of(labels),
        template="enterprise/people/invitations.html",
        context={"may_change": may_change},
    )


@require_http_methods(["GET", "POST"])
@never_cache
@requires(Permission.MEMBERS_CHANGE)
def new(request: HttpRequest) -> HttpResponse:
    """Invite one person to the tenant."""
    access, user = acting(request)
    form = forms.InvitationForm(
        request.POST or None, roles=_roles(request), initial=_first(request)
    )
    if request.method == "POST" and form.is_valid():
        try:
            invitation = operations_invitations.invite(
                tenant_id=access.tenant.tenant_id,
                email=form.cleaned_data["email"],
                offer=form.offer(),
                now=datetime.now(UTC),
                actor_id=user.pk,
            )
        except (CannotInvite, ValidationError) as error:
            form.add_error("email", _text(error))
        except (NotAllowed, UnknownRole) as error:
            form.add_error("role", str(error))
        else:
            announce.invited([invitation])
            text = _("%(email)s has been invited. The e-mail is on its way.")
            messages.success(request, text % {"email": invitation.email})
            return redirect("invitations")
    return _form_page(request, form, "enterprise/people/invitation_form.html")


@require_http_methods(["GET", "POST"])
@never_cache
@requires(Permission.MEMBERS_CHANGE)
def bulk(request: HttpRequest) -> HttpResponse:
    """Invite many people: show what would become of each line, then do it."""
    access, user = acting(request)
    form = forms.BulkForm(request.POST or None, roles=_roles(request), initial=_first(request))
    plan: tuple[bulk_invitations.PlannedLine, ...] = ()
    if request.method == "POST" and form.is_valid():
        arguments = {
            "tenant_id": access.tenant.tenant_id,
            "text": form.cleaned_data["people"],
            "offer": form.offer(),
            "now": datetime.now(UTC),
            "actor_id": user.pk,
        }
        try:
            if "confirm" in request.POST:
                return _invited(request, *bulk_invitations.invite_all(**arguments))
            plan = bulk_invitations.plan(**arguments)
        except TooManyLines as error:
            form.add_error("people", str(error))
    context = {"plan": plan, "good": sum(1 for line in plan if not line.problem)}
    return _form_page(request, form, "enterprise/people/invitation_bulk.html", **context)


@require_POST
@requires(Permission.MEMBERS_CHANGE)
def resend(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Send an invitation again, with a new link."""
    _access, user = acting(request)

    def send() -> Invitation:
        invitation = operations_invitations.resend(
            invitation_id=pk, now=datetime.now(UTC), actor_id=user.pk
        )
        announce.invited([invitation])
        return invitation

    return _do(request, send, done=_("The mail to %(email)s is on its way again."))


@require_POST
@requires(Permission.MEMBERS_CHANGE)
def revoke(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Take an invitation back."""
    _access, user = acting(request)
    return _do(
        request,
        lambda: operations_invitations.revoke(
            invitation_id=pk, now=datetime.now(UTC), actor_id=user.pk
        ),
        done=_("The invitation of %(email)s has been taken back."),
    )


def _do(request: HttpRequest, change: Callable[[], Invitation], *, done: str) -> HttpResponse:
    try:
        invitation = change()
    except Invitation.DoesNotExist as error:
        raise Http404 from error
    except (CannotInvite, NotAcceptable, NotAllowed, UnknownRole) as error:
        messages.error(request, str(error))
    else:
        messages.success(request, done % {"email": invitation.email})
    return redirect("invitations")


def _invited(
    request: HttpRequest,
    made: tuple[Invitation, ...],
    left: tuple[bulk_invitations.PlannedLine, ...],
) -> HttpResponse:
    announce.invited(made)
    text = ngettext(
        "%(count)d person has been invited.", "%(count)d people have been invited.", len(made)
    )
    messages.success(request, text % {"count": len(made)})
    if left:
        text = ngettext(
            "%(count)d line was left out: %(lines)s.",
            "%(count)d lines were left out: %(lines)s.",
            len(left),
        )
        lines = ", ".join(str(line.number) for line in left)
        messages.warning(request, text % {"count": len(left), "lines": lines})
    return redirect("invitations")


def _form_page(
    request: HttpRequest, form: forms.OfferForm, template: str, **context: object
) -> HttpResponse:
    access, _user = acting(request)
    tenant_id = access.tenant.tenant_id
    found = facility_choices(tenant_id=tenant_id, search="", chosen=form.chosen())
    form.show(found, tenant_id=tenant_id)
    return render(request, template, {"form": form, "tenant": access.tenant, **context})


def _roles(request: HttpRequest) -> list[object]:
    access, user = acting(request)
    built_in, custom = givable(actor_id=user.pk, tenant_id=access.tenant.tenant_id)
    return list(forms.role_choices(built_in, custom))


def _first(request: HttpRequest) -> dict[str, object]:
    """What an empty form begins with: the harmless choice, in the reader's language."""
    return {"role": "analyst", "language": request.LANGUAGE_CODE, "reach": forms.ALL}


def _text(error: Exception) -> str:
    return " ".join(error.messages) if isinstance(error, ValidationError) else str(error)
