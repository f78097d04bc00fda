"""Roles: which there are, what they allow, and those that the tenant makes itself."""

from __future__ import annotations

from collections.abc import Callable

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from portal.enterprise.people import announce, pages
from portal.enterprise.people.forms_roles import CustomRoleForm
from portal.enterprise.people.views_people import acting
from portal.frame.permissions import may, requires
from tenants.domain import operations_roles, queries_people
from tenants.domain.authority import NotAllowed, role_permissions
from tenants.domain.operations_roles import RoleInUse, TooManyRoles
from tenants.domain.queries import RoleFacts, usable_roles
from tenants.models import CustomRole
from tenants.permission_texts import ROLE_TEXTS
from tenants.permissions import PERMISSIONS, Permission, Role


@require_safe
@never_cache
@requires(Permission.MEMBERS_VIEW)
def roles(request: HttpRequest) -> HttpResponse:
    """The roles that can be given in the tenant."""
    access, _user = acting(request)
    found = queries_people.roles(tenant_id=access.tenant.tenant_id)
    context = pages.role_list(
        found.custom, members=found.members, tenant_id=access.tenant.tenant_id
    )
    may_change = may(request, Permission.ROLES_CHANGE)
    return render(request, "enterprise/people/roles.html", {**context, "may_change": may_change})


@require_safe
@never_cache
@requires(Permission.MEMBERS_VIEW)
def built_in(request: HttpRequest, *, code: str) -> HttpResponse:
    """What a built-in role allows."""
    if code not in {role.value for role in Role}:
        raise Http404
    role = Role(code)
    context = {
        "name": ROLE_TEXTS[role].label,
        "description": ROLE_TEXTS[role].allows,
        "groups": pages.permission_groups(PERMISSIONS[role]),
        "key": code,
        "may_change": may(request, Permission.ROLES_CHANGE),
    }
    return render(request, "enterprise/people/role.html", context)


@require_safe
@never_cache
@requires(Permission.MEMBERS_VIEW)
def custom(request: HttpRequest, *, pk: int) -> HttpResponse:
    """What a custom role allows, and who made it."""
    access, _user = acting(request)
    role = _usable(request, pk)
    own = role.tenant_id in access.tenant_ids
    context = {
        "pk": pk,
        "name": role.name,
        "description": role.description,
        "groups": pages.permission_groups(role.permissions),
        "key": queries_people.key_of(pk),
        "made_by": role.tenant_name,
        "custom": True,
        "own": own,
        "may_change": may(request, Permission.ROLES_CHANGE),
        "may_see_audit": may(request, Permission.AUDIT_VIEW),
    }
    return render(request, "enterprise/people/role.html", context)


@require_http_methods(["GET", "POST"])
@never_cache
@requires(Permission.ROLES_CHANGE)
def new(request: HttpRequest) -> HttpResponse:
    """Make a role, perhaps after the pattern of another one (`?from=`)."""
    access, user = acting(request)
    pattern = request.GET.get("from", "")
    form = CustomRoleForm(
        request.POST or None,
        held=access.permissions,
        chosen=access.permissions & _permissions_of(request, pattern),
    )

    def save() -> CustomRole:
        return operations_roles.create_role(
            tenant_id=access.tenant.tenant_id, draft=form.draft(), actor_id=user.pk
        )

    if request.method == "POST" and form.is_valid() and (role := _saved(form, save)):
        messages.success(request, _("The role %(role)s has been created.") % {"role": role.name})
        return redirect("role", pk=role.pk)
    return render(request, "enterprise/people/role_form.html", {"form": form})


@require_http_methods(["GET", "POST"])
@never_cache
@requires(Permission.ROLES_CHANGE)
def edit(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Change a role, for everybody who has it."""
    access, user = acting(request)
    role = _own(request, pk)
    form = CustomRoleForm(
        request.POST or None,
        held=access.permissions,
        chosen=role.permissions,
        initial={"name": role.name, "description": role.description},
    )

    def save() -> CustomRole:
        changed = operations_roles.change_custom_role(
            role_id=pk, draft=form.draft(), actor_id=user.pk
        )
        announce.changed(changed.user_ids)
        return changed.role

    if request.method == "POST" and form.is_valid() and (saved := _saved(form, save)):
        messages.success(request, _("The role %(role)s has been changed.") % {"role": saved.name})
        return redirect("role", pk=pk)
    return render(request, "enterprise/people/role_form.html", {"form": form, "role": role})


@require_POST
@requires(Permission.ROLES_CHANGE)
def delete(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Delete a role that nobody has."""
    _access, user = acting(request)
    try:
        role = operations_roles.delete_role(role_id=pk, actor_id=user.pk)
    except CustomRole.DoesNotExist as error:
        raise Http404 from error
    except (NotAllowed, RoleInUse) as error:
        messages.error(request, str(error))
        return redirect("role", pk=pk)
    messages.success(request, _("The role %(role)s has been deleted.") % {"role": role.name})
    return redirect("roles")


def _saved(form: CustomRoleForm, save: Callable[[], CustomRole]) -> CustomRole | None:
    """The role, or None with the reason in the form."""
    try:
        return save()
    except ValidationError as error:
        form.add_error(None, ValidationError(error.messages))
    except (NotAllowed, TooManyRoles) as error:
        form.add_error(None, str(error))
    return None


def _usable(request: HttpRequest, pk: int) -> RoleFacts:
    access, _user = acting(request)
    for role in usable_roles(tenant_ids=access.tenant_ids):
        if role.role_id == pk:
            return role
    raise Http404


def _own(request: HttpRequest, pk: int) -> RoleFacts:
    """The role, if a tenant of the scope made it: others are seen and used, not changed."""
    access, _user = acting(request)
    role = _usable(request, pk)
    if role.tenant_id not in access.tenant_ids:
        raise Http404
    return role


def _permissions_of(request: HttpRequest, key: str) -> frozenset[Permission]:
    """What the role of a key allows; nothing for what is no key of a usable role."""
    access, _user = acting(request)
    try:
        role = queries_people.role_of_key(key)
    except ValueError:
        return frozenset()
    return role_permissions(tenant_id=access.tenant.tenant_id, role=role)
