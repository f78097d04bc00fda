"""The tenant tree: what there is, and making, changing, suspending a tenant below."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from django import forms
from django.conf import settings
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from devices.domain.tenant_tree import Node, TenantNotFound, Tree, tree
from portal.enterprise.people import announce
from portal.frame import htmx
from portal.frame.permissions import access_of, may, requires
from portal.tasks import tell_of_memberships
from tenants import time_zones
from tenants.domain import tenant_operations
from tenants.domain.authority import NotAllowed
from tenants.domain.operations_invitations import CannotInvite
from tenants.domain.tenant_operations import Cut, TenantDraft, TenantRefused
from tenants.models import Tenant, TenantKind, User
from tenants.permissions import Permission

MAX_FOUND: Final = 100
# Tenants of a branch that are shown at once.
BRANCH_PART: Final = 100
_FOLDER: Final = "enterprise/administration"


class TenantForm(forms.Form):
    """Name, zone and language of a tenant."""

    name = forms.CharField(label=gettext_lazy("Name"), max_length=120)
    time_zone = forms.CharField(
        label=gettext_lazy("Time zone"),
        max_length=64,
        widget=forms.TextInput(
            {"list": "time-zones", "autocomplete": "off", "spellcheck": "false"}
        ),
        help_text=gettext_lazy("What new facilities begin with, such as Europe/Berlin."),
    )
    language = forms.ChoiceField(label=gettext_lazy("Language"), choices=settings.LANGUAGES)


class NewTenantForm(TenantForm):
    """A tenant to be made, with its first administrator."""

    kind = forms.ChoiceField(
        label=gettext_lazy("Kind"),
        widget=forms.RadioSelect,
        choices=[
            (TenantKind.CLIENT.value, gettext_lazy("Client: has facilities, and no tenants below")),
            (TenantKind.RESELLER.value, gettext_lazy("Reseller: has tenants below it")),
        ],
        initial=TenantKind.CLIENT.value,
    )
    admin_email = forms.EmailField(
        label=gettext_lazy("First administrator"),
        required=False,
        max_length=254,
        widget=forms.EmailInput({"autocomplete": "off"}),
        help_text=gettext_lazy("Gets an invitation by e-mail. You administer the tenant as well."),
    )
    field_order = ("name", "kind", "time_zone", "language", "admin_email")


@require_safe
@never_cache
@requires(Permission.TENANTS_VIEW)
def tenants(request: HttpRequest) -> HttpResponse:
    """The tree from the user's tenant down, a branch at a time; with `q` what a search finds."""
    found = _tree(request)
    words = request.GET.get("q", "").split()[:8]
    context: dict[str, Any] = {
        "q": " ".join(words),
        "may_change": may(request, Permission.TENANTS_CHANGE),
        "top": found.node(found.top),
    }
    if words:
        hits = found.search(words, MAX_FOUND + 1)
        context["hits"] = [
            {"node": node, "path": found.path(node.tenant_id)} for node in hits[:MAX_FOUND]
        ]
        context["more"] = len(hits) > MAX_FOUND
    else:
        context |= _part(found, found.top)
    partial_answer = htmx.target(request) == "tree"
    template = "tenant_results" if partial_answer else "tenants"
    return render(request, f"{_FOLDER}/{template}.html", context)


@require_safe
@never_cache
@requires(Permission.TENANTS_VIEW)
def branch(request: HttpRequest, *, pk: int) -> HttpResponse:
    """The tenants right below one, as a part of the tree."""
    found = _tree(request)
    _node(found, pk)
    start = request.GET.get("from", "0")
    context = _part(found, pk, start=int(start) if start.isdecimal() and len(start) < 7 else 0)
    template = "tenant_items" if "from" in request.GET else "tenant_branch"
    return render(request, f"{_FOLDER}/{template}.html", context)


@require_safe
@never_cache
@requires(Permission.TENANTS_VIEW)
def tenant(request: HttpRequest, *, pk: int) -> HttpResponse:
    """One tenant: what it is, what hangs on it, who is below."""
    found = _tree(request)
    node = _node(found, pk)
    change = may(request, Permission.TENANTS_CHANGE)
    context = {
        "tenant": node,
        "kind": TenantKind(node.kind).label,
        "language_name": dict(settings.LANGUAGES).get(node.language, node.language),
        "path": found.path(pk),
        **_part(found, pk),
        "may_change": change,
        "may_add": change and node.kind != TenantKind.CLIENT and not node.suspended,
        "may_suspend": change and _is_below(request, node),
    }
    return render(request, f"{_FOLDER}/tenant.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(Permission.TENANTS_CHANGE)
def create(request: HttpRequest, *, pk: int) -> HttpResponse:
    """A new tenant below one, and the invitation of its first administrator."""
    found = _tree(request)
    parent = _node(found, pk)
    data = request.POST if request.method == "POST" else None
    initial = {"time_zone": parent.time_zone, "language": parent.language}
    form = NewTenantForm(data, initial=initial)
    if request.method == "POST" and form.is_valid():
        values = {**form.cleaned_data, "kind": TenantKind(form.cleaned_data["kind"])}
        try:
            made = tenant_operations.create_below(
                parent_id=pk,
                draft=TenantDraft(**values),
                now=datetime.now(UTC),
                actor_id=_user(request).pk,
            )
        except ValidationError as error:
            _add_errors(form, error)
        except CannotInvite as error:
            form.add_error("admin_email", str(error))
        except (TenantRefused, NotAllowed) as error:
            form.add_error(None, str(error))
        else:
            if made.invitation is not None:
                announce.invited([made.invitation])
            messages.success(
                request, _("%(tenant)s has been created.") % {"tenant": made.tenant.name}
            )
            return redirect("tenant", pk=made.tenant.pk)
    return _form_page(request, form, found, parent=parent)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(Permission.TENANTS_CHANGE)
def change(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Change name, time zone and language."""
    found = _tree(request)
    node = _node(found, pk)
    data = request.POST if request.method == "POST" else None
    initial = {"name": node.name, "time_zone": node.time_zone, "language": node.language}
    form = TenantForm(data, initial=initial)
    if request.method == "POST" and form.is_valid():
        try:
            changed = tenant_operations.change_tenant(
                tenant_id=pk, values=form.cleaned_data, actor_id=_user(request).pk
            )
        except ValidationError as error:
            _add_errors(form, error)
        except NotAllowed as error:
            form.add_error(None, str(error))
        else:
            if changed:
                messages.success(request, _("The tenant has been changed."))
            return redirect("tenant", pk=pk)
    return _form_page(request, form, found, tenant=node)


@require_POST
@never_cache
@requires(Permission.TENANTS_CHANGE)
def suspend(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Refuse the tenant's people and applications; its devices go on."""
    operation = partial(tenant_operations.suspend, now=datetime.now(UTC))
    return _cut(request, pk, operation, _("The tenant is suspended; its devices go on reporting."))


@require_POST
@never_cache
@requires(Permission.TENANTS_CHANGE)
def resume(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Let the tenant in again."""
    return _cut(request, pk, tenant_operations.resume, _("The tenant is let in again."))


def _cut(request: HttpRequest, pk: int, operation: Callable[..., Cut], text: str) -> HttpResponse:
    try:
        cut = operation(tenant_id=pk, actor_id=_user(request).pk)
    except Tenant.DoesNotExist:
        raise Http404 from None
    except (TenantRefused, NotAllowed) as error:
        messages.error(request, str(error))
        return redirect("tenant", pk=pk)
    tell = partial(
        tell_of_memberships.delay, tenant_ids=cut.tenant_ids, user_ids=list(cut.user_ids)
    )
    transaction.on_commit(tell)
    messages.success(request, text)
    return redirect("tenant", pk=pk)


def _part(found: Tree, tenant_id: int, *, start: int = 0) -> dict[str, Any]:
    """Some tenants of a branch, and where the next begin."""
    branch = found.branch(tenant_id)
    end = start + BRANCH_PART
    left = max(0, len(branch) - end)
    return {"branch": branch[start:end], "branch_of": tenant_id, "next": end, "left": left}


def _tree(request: HttpRequest) -> Tree:
    access = access_of(request)
    assert access is not None  # the guard has seen a permission
    return tree(top=access.tenant.tenant_id)


def _node(found: Tree, pk: int) -> Node:
    try:
        return found.node(pk)
    except TenantNotFound:
        raise Http404 from None


def _is_below(request: HttpRequest, node: Node) -> bool:
    """Whether the tenant lies below the one that the user's role is held in."""
    access = access_of(request)
    assert access is not None
    return node.tenant_id != access.membership.tenant.tenant_id and node.parent_id is not None


def _form_page(request: HttpRequest, form: forms.Form, found: Tree, **context: Any) -> HttpResponse:
    node: Node = context.get("tenant") or context["parent"]
    context |= {
        "form": form,
        "path": found.path(node.tenant_id),
        "zones": time_zones.names(),
    }
    status = 422 if form.is_bound else 200
    return render(request, f"{_FOLDER}/tenant_form.html", context, status=status)


def _add_errors(form: forms.Form, error: ValidationError) -> None:
    if not hasattr(error, "error_dict"):
        form.add_error("admin_email" if "admin_email" in form.fields else None, error.messages)
        return
    for name, texts in error.message_dict.items():
        form.add_error(name if name in form.fields else None, texts)


def _user(request: HttpRequest) -> User:
    assert isinstance(request.user, User)
    return request.user
