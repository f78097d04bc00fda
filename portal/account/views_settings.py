"""A tenant's sign-in settings: second factor, company login, domains."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Any, cast

from allauth.socialaccount.models import SocialAccount
from django.contrib import messages
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from portal.account import dns, session
from portal.account.forms_company import (
    DomainForm,
    EnforceForm,
    LoginForm,
    PolicyForm,
    RuleFormSet,
    role_choices,
)
from portal.account.proof import proven
from portal.account.tasks import (
    end_sessions_beside_company_login,
    end_sessions_without_second_factor,
)
from portal.account.views_company import callback_address
from portal.frame.permissions import access_of, requires
from tenants.domain import company_domains as domains
from tenants.domain import company_operations as operations
from tenants.domain.authority import NotAllowed, UnknownRole
from tenants.domain.company_queries import Settings, needs_second_factor, sign_in_settings
from tenants.models import CompanyDomain, CompanyLogin, SecondFactor, User
from tenants.permissions import Permission

ADDRESS = "sign-in-settings"


def _tenant(request: HttpRequest) -> int:
    access = access_of(request)
    assert access is not None  # `requires` has asked for a permission
    return access.tenant.tenant_id


def _actor(request: HttpRequest) -> int:
    return cast(User, request.user).pk


def _back(name: str = ADDRESS) -> HttpResponse:
    return HttpResponseRedirect(reverse(name))


@require_GET
@never_cache
@requires(Permission.SIGN_ON_CHANGE)
def overview(request: HttpRequest) -> HttpResponse:
    """Everything about how the people of the tenant sign in."""
    return _page(request, sign_in_settings(tenant_id=_tenant(request)))


def _page(request: HttpRequest, found: Settings, **forms: Any) -> HttpResponse:
    login = found.login
    context = {
        "settings": found,
        "login": login,
        "callback": callback_address(login.key) if login else "",
        "policy_form": PolicyForm(initial={"second_factor": found.second_factor}),
        "domain_form": DomainForm(),
        "enforce_form": EnforceForm(
            initial={
                "enforced": bool(login and login.is_enforced),
                "break_glass_email": found.break_glass_email or cast(User, request.user).email,
            }
        ),
    }
    return render(request, "account/sign_in_settings.html", {**context, **forms})


@require_POST
@requires(Permission.SIGN_ON_CHANGE)
@proven
def set_policy(request: HttpRequest) -> HttpResponse:
    """Demand a second factor, or no more; who has none signs in anew and sets it up."""
    form = PolicyForm(request.POST)
    tenant_id, user = _tenant(request), cast(User, request.user)
    if not form.is_valid():
        return _page(request, sign_in_settings(tenant_id=tenant_id), policy_form=form)
    level = SecondFactor(form.cleaned_data["second_factor"])
    stricter = operations.set_policy(tenant_id=tenant_id, second_factor=level, actor_id=user.pk)
    if stricter and needs_second_factor(user_id=user.pk) and session.must_set_up(user):
        transaction.set_rollback(True)
        messages.error(request, _("Set up a second step of your own first, then demand it."))
        return _back("mfa_index")
    if stricter:
        transaction.on_commit(
            partial(end_sessions_without_second_factor.delay, tenant_id=tenant_id)
        )
    messages.success(request, _("The setting is saved."))
    return _back()


@require_http_methods(["GET", "POST"])
@never_cache
@requires(Permission.SIGN_ON_CHANGE)
@proven
def edit_login(request: HttpRequest) -> HttpResponse:
    """Set up the company login, or change it."""
    tenant_id = _tenant(request)
    login = sign_in_settings(tenant_id=tenant_id).login
    roles = role_choices(actor_id=_actor(request), tenant_id=tenant_id)
    form = LoginForm(request.POST or None, roles=roles, login=login)
    initial = [{"group": group, "role": role} for group, role in login.role_rules] if login else []
    rules = RuleFormSet(
        request.POST or None, initial=initial, prefix="rules", form_kwargs={"roles": roles}
    )
    # Both are looked at, so that all errors are shown at once.
    if request.method == "POST" and all([form.is_valid(), rules.is_valid()]):
        try:
            saved = operations.save_login(
                tenant_id=tenant_id, draft=form.draft(rules.rules()), actor_id=_actor(request)
            )
        except ValidationError as error:
            _show(form, error)
        except (NotAllowed, UnknownRole) as error:
            form.add_error(None, str(error))
        else:
            if saved.last_success_at is None:  # nobody has come by this provider yet
                SocialAccount.objects.filter(provider=saved.key).delete()
            messages.success(request, _("The company login is saved."))
            return _back()
    context = {"form": form, "rules": rules, "login": login}
    return render(request, "account/company_login.html", context)


def _show(form: LoginForm, error: ValidationError) -> None:
    """The errors of the operation, beside the fields that they are about."""
    for name, texts in error.message_dict.items():
        form.add_error(name if name in form.fields else None, texts)


@require_POST
@requires(Permission.SIGN_ON_CHANGE)
@proven
def remove_login(request: HttpRequest) -> HttpResponse:
    """Give the company login up; nobody is linked with the provider any more."""
    try:
        key = operations.remove_login(tenant_id=_tenant(request), actor_id=_actor(request))
    except CompanyLogin.DoesNotExist:
        raise Http404 from None
    SocialAccount.objects.filter(provider=key).delete()
    messages.success(request, _("The company login is removed."))
    return _back()


@require_POST
@requires(Permission.SIGN_ON_CHANGE)
@proven
def enforce(request: HttpRequest) -> HttpResponse:
    """Demand the company login, or let people sign in by password again."""
    form, tenant_id = EnforceForm(request.POST), _tenant(request)
    if not form.is_valid():
        return _page(request, sign_in_settings(tenant_id=tenant_id), enforce_form=form)
    try:
        login = operations.enforce(
            tenant_id=tenant_id, actor_id=_actor(request), **form.cleaned_data
        )
    except CompanyLogin.DoesNotExist:
        raise Http404 from None
    except operations.NotReady as error:
        form.add_error(None, str(error))
        return _page(request, sign_in_settings(tenant_id=tenant_id), enforce_form=form)
    if login.is_enforced:
        transaction.on_commit(partial(end_sessions_beside_company_login.delay, tenant_id=tenant_id))
    messages.success(request, _("The setting is saved."))
    return _back()


@require_POST
@requires(Permission.SIGN_ON_CHANGE)
def add_domain(request: HttpRequest) -> HttpResponse:
    """Add a domain, whose record is then to be set."""
    form, tenant_id = DomainForm(request.POST), _tenant(request)
    if form.is_valid():
        try:
            domains.add_domain(
                tenant_id=tenant_id, domain=form.cleaned_data["domain"], actor_id=_actor(request)
            )
        except CompanyLogin.DoesNotExist:
            raise Http404 from None
        except ValidationError as error:
            form.add_error("domain", error.message_dict["domain"])
        else:
            return _back()
    return _page(request, sign_in_settings(tenant_id=tenant_id), domain_form=form)


@require_POST
@requires(Permission.SIGN_ON_CHANGE)
def check_domain(request: HttpRequest, pk: int) -> HttpResponse:
    """Look for the record of a domain."""
    try:
        domain = domains.check_domain(
            tenant_id=_tenant(request),
            domain_id=pk,
            look_up=dns.texts,
            now=datetime.now(UTC),
            actor_id=_actor(request),
        )
    except CompanyDomain.DoesNotExist:
        raise Http404 from None
    except domains.RecordMissing:
        text = _("The record is not there yet. It can take up to an hour to be seen everywhere.")
        messages.warning(request, text)
    except domains.DomainTaken:
        messages.error(request, _("Another tenant has proven this domain already."))
    except dns.DnsUnavailable as error:
        messages.error(request, str(error))
    else:
        text = _("%(domain)s is proven.")
        messages.success(request, text % {"domain": domain.domain})
    return _back()


@require_POST
@requires(Permission.SIGN_ON_CHANGE)
@proven
def remove_domain(request: HttpRequest, pk: int) -> HttpResponse:
    """Remove a domain."""
    try:
        domains.remove_domain(tenant_id=_tenant(request), domain_id=pk, actor_id=_actor(request))
    except CompanyDomain.DoesNotExist:
        raise Http404 from None
    except operations.NotReady as error:
        messages.error(request, str(error))
    else:
        messages.success(request, _("The domain is removed."))
    return _back()
