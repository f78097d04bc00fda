"""Groups of devices: list, page of one, forms, members."""

from __future__ import annotations

from django.contrib import messages
from django.core.exceptions import ObjectDoesNotExist, ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from devices.domain import groups_operations, groups_queries
from devices.domain.groups_queries import GroupFacts, GroupNotFound
from devices.domain.selection import SelectionRefused
from portal.enterprise.control import words
from portal.enterprise.control.forms_groups import NameForm, RuleForm, fields_of
from portal.enterprise.control.tables import GroupFilter, GroupTable, MemberTable, RuledTable, kind
from portal.enterprise.registry.forms import add_errors
from portal.enterprise.registry.requests import actor_id, chosen_ids, own_tenant_id, posted
from portal.frame.listing import render_list
from portal.frame.permissions import may, requires
from tenants.permissions import Permission

_SEES = (Permission.DEVICES_VIEW,)
_CHANGES = (Permission.DEVICES_VIEW, Permission.DEVICES_CONTROL)
_FORM = "enterprise/control/group_form.html"


@require_safe
@never_cache
@requires(*_SEES)
def group_list(request: HttpRequest) -> HttpResponseBase:
    """The groups of the scope."""
    return render_list(
        request,
        table_class=GroupTable,
        rows=groups_queries.group_rows(),
        filterset_class=GroupFilter,
        template="enterprise/control/groups.html",
        context={"may_control": may(request, Permission.DEVICES_CONTROL)},
    )


@require_safe
@never_cache
@requires(*_SEES)
def group(request: HttpRequest, *, pk: int) -> HttpResponseBase:
    """A group with its devices."""
    found = _group(pk)
    may_control = may(request, Permission.DEVICES_CONTROL)
    context = {"group": found, "kind": kind(found), "may_control": may_control}
    if found.rule is not None:
        choices = groups_queries.choices(tenant_id=found.tenant_id)
        context["conditions"] = words.rule(found.rule, choices)
    return render_list(
        request,
        table_class=MemberTable if found.rule is None and may_control else RuledTable,
        rows=groups_queries.held_rows(group_id=pk),
        template="enterprise/control/group.html",
        context=context,
    )


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(*_CHANGES)
def create(request: HttpRequest) -> HttpResponse:
    """A group of members, perhaps of the devices that were chosen in a list."""
    form = NameForm(posted(request))
    ids = chosen_ids(request, "device")
    if request.method == "POST" and "name" in request.POST and form.is_valid():
        try:
            made = groups_operations.create_group(
                tenant_id=own_tenant_id(request),
                values=form.values(),
                device_ids=ids,
                actor_id=actor_id(request),
            )
        except ValidationError as error:
            add_errors(form, error)
        else:
            messages.success(request, _("The group “%(name)s” was created.") % {"name": made.name})
            return redirect("group", pk=made.pk)
    if request.method == "POST" and "name" not in request.POST:
        form = NameForm()
    return _answer(request, form, {"heading": _("New group"), "ids": ids})


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(*_CHANGES)
def create_by_rule(request: HttpRequest) -> HttpResponse:
    """A group of all devices that satisfy a rule."""
    tenant_id = own_tenant_id(request)
    form = RuleForm(posted(request), choices=groups_queries.choices(tenant_id=tenant_id))
    if request.method == "POST" and form.is_valid():
        try:
            made = groups_operations.create_group(
                tenant_id=tenant_id, values=form.values(), actor_id=actor_id(request)
            )
        except ValidationError as error:
            add_errors(form, error)
        else:
            messages.success(request, _("The group “%(name)s” was created.") % {"name": made.name})
            return redirect("group", pk=made.pk)
    context = {"heading": _("New group by rule"), "by_rule": True}
    return _answer(request, form, context)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(*_CHANGES)
def edit(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Another name, description or rule."""
    found = _group(pk)
    form = _form_of(request, found)
    if form is None:
        messages.warning(
            request,
            _("The rule of this group was written by the API and does not fit the form."),
        )
        return redirect("group", pk=pk)
    if request.method == "POST" and form.is_valid():
        try:
            groups_operations.change_group(
                group_id=pk, values=form.values(), actor_id=actor_id(request)
            )
        except ValidationError as error:
            add_errors(form, error)
        else:
            messages.success(request, _("The changes were saved."))
            return redirect("group", pk=pk)
    by_rule = found.rule is not None
    context = {"heading": _("Change the group"), "by_rule": by_rule, "group": found}
    return _answer(request, form, context)


@require_POST
@never_cache
@requires(*_CHANGES)
def preview(request: HttpRequest) -> HttpResponse:
    """What the rule in the form would hold now."""
    tenant_id = own_tenant_id(request)
    form = RuleForm(request.POST, choices=groups_queries.choices(tenant_id=tenant_id))
    form.fields["name"].required = False
    context: dict[str, object] = {}
    rule = form.rule() if form.is_valid() else None
    if rule is not None:
        try:
            context["held"] = groups_queries.would_hold(tenant_id=tenant_id, rule=rule)
        except SelectionRefused as error:
            form.refuse(error)
    context["problems"] = [str(one) for some in form.errors.values() for one in some]
    return render(request, "enterprise/control/group_preview.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(*_CHANGES)
def delete(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Remove a group, after a question; its devices stay."""
    found = _group(pk)
    if request.method == "POST":
        try:
            groups_operations.delete_group(group_id=pk, actor_id=actor_id(request))
        except ValidationError as error:
            messages.error(request, " ".join(error.messages))
            return redirect("group", pk=pk)
        messages.success(request, _("The group “%(name)s” was removed.") % {"name": found.name})
        return redirect("group-list")
    return render(request, "enterprise/control/group_delete.html", {"group": found})


@require_POST
@never_cache
@requires(*_CHANGES)
def members(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Put the chosen devices into a group, or take them out."""
    ids = chosen_ids(request, "device")
    if not ids:
        messages.warning(request, _("Choose devices in the list first."))
        return redirect("group", pk=pk)
    remove = request.POST.get("do") == "remove"
    change = groups_operations.remove_members if remove else groups_operations.add_members
    try:
        count = change(group_id=pk, device_ids=ids, actor_id=actor_id(request))
    except ObjectDoesNotExist as error:
        raise Http404 from error
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    else:
        text = (
            ngettext("%(n)d device was taken out.", "%(n)d devices were taken out.", count)
            if remove
            else ngettext("%(n)d device was put in.", "%(n)d devices were put in.", count)
        )
        messages.success(request, text % {"n": count})
    return redirect("group", pk=pk)


@require_POST
@never_cache
@requires(*_CHANGES)
def choose(request: HttpRequest) -> HttpResponse:
    """To which group the devices that were chosen in a list shall belong."""
    ids = chosen_ids(request, "device")
    if not ids:
        messages.warning(request, _("Choose devices in the list first."))
        return redirect("device-list")
    groups = groups_queries.member_groups(tenant_id=own_tenant_id(request))
    context = {"groups": groups, "ids": ids, "count": len(ids)}
    return render(request, "enterprise/control/group_choose.html", context)


def _form_of(request: HttpRequest, found: GroupFacts) -> NameForm | None:
    initial = {"name": found.name, "description": found.description}
    if found.rule is None:
        return NameForm(posted(request), initial=initial)
    fields = fields_of(found.rule)
    if fields is None:
        return None
    choices = groups_queries.choices(tenant_id=found.tenant_id, without=found.group_id)
    return RuleForm(posted(request), choices=choices, initial={**initial, **fields})


def _group(pk: int) -> GroupFacts:
    try:
        return groups_queries.group(group_id=pk)
    except GroupNotFound as error:
        raise Http404 from error


def _answer(request: HttpRequest, form: NameForm, context: dict[str, object]) -> HttpResponse:
    status = 422 if form.errors else 200
    return render(request, _FORM, {"form": form, **context}, status=status)
