"""The list of people, a person, and what can be done about a membership."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from devices.domain import people as reading
from devices.domain.restrictions import UnknownFacility, restrict
from portal.enterprise.people import announce, forms, pages, rows, tables
from portal.frame.listing import render_list
from portal.frame.permissions import access_of, may, requires
from tenants.domain import operations
from tenants.domain.authority import NotAllowed, UnknownRole
from tenants.domain.operations import LastAdministrator
from tenants.domain.queries import Access
from tenants.domain.queries_people import role_choices
from tenants.models import Membership, User
from tenants.permissions import Permission


def acting(request: HttpRequest) -> tuple[Access, User]:
    """How the reader acts, and who that is; for views that `requires` guards."""
    access = access_of(request)
    assert access is not None
    assert isinstance(request.user, User)
    return access, request.user


@require_safe
@never_cache
@requires(Permission.MEMBERS_VIEW)
def people(request: HttpRequest) -> HttpResponseBase:
    """Members of the tenant and of all below it."""
    access, _user = acting(request)
    roles, labels = role_choices(tenant_ids=access.tenant_ids)
    several = len(access.tenant_ids) > 1
    return render_list(
        request,
        table_class=tables.PeopleTable if several else tables.PeopleOfOneTenantTable,
        rows=rows.people(roles=roles),
        filterset_class=tables.PeopleFilterSet.of(labels),
        template="enterprise/people/people.html",
        context={"may_change": may(request, Permission.MEMBERS_CHANGE)},
    )


@require_safe
@never_cache
@requires(Permission.MEMBERS_VIEW)
def person(request: HttpRequest, *, pk: int) -> HttpResponse:
    """A member: role and what it allows, facilities, and what the reader may change."""
    return _page(request, _detail(request, pk))


@require_POST
@requires(Permission.MEMBERS_CHANGE)
def role(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Give a member another role."""
    detail = _detail(request, pk)
    choices = forms.role_choices(detail.built_in, detail.custom_roles)
    form = forms.RoleForm(request.POST, roles=choices)
    if not form.is_valid():
        return _page(request, detail, role_form=form)
    _access, user = acting(request)
    return _do(
        request,
        pk,
        lambda: operations.change_role(
            membership_id=pk, role=form.cleaned_data["role"], actor_id=user.pk
        ),
        done=_("The role of %(person)s has been changed."),
    )


@require_http_methods(["GET", "POST"])
@never_cache
@requires(Permission.MEMBERS_CHANGE)
def facilities(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Choose the facilities that a member reaches."""
    _access, user = acting(request)
    detail = _detail(request, pk)
    granted = [facility.facility_id for facility in detail.facilities]
    narrowed = detail.membership.narrowed
    form = forms.ReachForm(
        request.POST or None, initial=forms.initial_of_reach(granted if narrowed else None)
    )
    if request.method == "POST" and form.is_valid():
        ids = form.facility_ids()
        return _do(
            request,
            pk,
            lambda: restrict(membership_id=pk, facility_ids=ids, actor_id=user.pk),
            done=_("The facilities of %(person)s have been changed."),
        )
    tenant_id = detail.membership.tenant_id
    found = reading.facility_choices(tenant_id=tenant_id, search="", chosen=form.chosen())
    form.show(found, tenant_id=tenant_id)
    context = {"person": pages.person(detail), "form": form}
    return render(request, "enterprise/people/facilities.html", context)


@require_safe
@never_cache
@requires(Permission.MEMBERS_CHANGE)
def facility_choices(request: HttpRequest) -> HttpResponse:
    """The boxes of the facility picker, for HTMX: what is ticked, and what the search finds."""
    access, _user = acting(request)
    ids = map(forms.id_of, request.GET.getlist("facilities"))
    chosen = [found for found in ids if found is not None]
    wanted = forms.id_of(request.GET.get("tenant", ""))
    found = reading.facility_choices(
        tenant_id=access.tenant.tenant_id if wanted is None else wanted,
        search=request.GET.get("facility-search", "")[:100].replace("\0", ""),
        chosen=chosen[:1000],
    )
    context = {"found": found, "name": "facilities"}
    return render(request, "enterprise/people/facility_boxes.html", context)


@require_POST
@requires(Permission.MEMBERS_CHANGE)
def suspend(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Let a membership count as none until it is restored."""
    _access, user = acting(request)
    return _do(
        request,
        pk,
        lambda: operations.suspend_membership(
            membership_id=pk, now=datetime.now(UTC), actor_id=user.pk
        ),
        done=_("%(person)s has been deactivated and has no access any more."),
    )


@require_POST
@requires(Permission.MEMBERS_CHANGE)
def restore(request: HttpRequest, *, pk: int) -> HttpResponse:
    """End a suspension."""
    _access, user = acting(request)
    return _do(
        request,
        pk,
        lambda: operations.restore_membership(membership_id=pk, actor_id=user.pk),
        done=_("%(person)s has been activated again."),
    )


@require_POST
@requires(Permission.MEMBERS_CHANGE)
def end(request: HttpRequest, *, pk: int) -> HttpResponse:
    """End a membership."""
    _access, user = acting(request)
    return _do(
        request,
        pk,
        lambda: operations.end_membership(membership_id=pk, actor_id=user.pk),
        done=_("%(person)s is no longer a member."),
        after="people",
    )


def _do(
    request: HttpRequest,
    pk: int,
    change: Callable[[], Membership],
    *,
    done: str,
    after: str = "person",
) -> HttpResponse:
    """Run a change, tell tokens and open pages, and lead back with what became of it."""
    try:
        membership = change()
    except Membership.DoesNotExist as error:
        raise Http404 from error
    except (NotAllowed, UnknownRole, UnknownFacility, LastAdministrator) as error:
        messages.error(request, str(error))
        return redirect("person", pk=pk)
    announce.changed([membership.user_id])
    messages.success(request, done % {"person": membership.user.get_full_name()})
    return redirect(after) if after == "people" else redirect(after, pk=pk)


def _detail(request: HttpRequest, pk: int) -> reading.PersonDetail:
    access, user = acting(request)
    roles, _labels = role_choices(tenant_ids=access.tenant_ids)
    try:
        return reading.person(membership_id=pk, roles=roles, reader_id=user.pk)
    except Membership.DoesNotExist as error:
        raise Http404 from error


def _page(request: HttpRequest, detail: reading.PersonDetail, **context: Any) -> HttpResponse:
    if detail.changeable and "role_form" not in context:
        choices = forms.role_choices(detail.built_in, detail.custom_roles)
        initial = {"role": pages.role_key(detail.membership)}
        context["role_form"] = forms.RoleForm(initial=initial, roles=choices)
    context["person"] = pages.person(detail)
    context["may_see_audit"] = may(request, Permission.AUDIT_VIEW)
    myself = isinstance(request.user, User) and detail.membership.user_id == request.user.pk
    context["may_impersonate"] = may(request, Permission.MEMBERS_IMPERSONATE) and not myself
    return render(request, "enterprise/people/person.html", context)
