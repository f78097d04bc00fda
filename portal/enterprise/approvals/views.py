"""Everything that waits for the person's approval, and the rules that demand it."""

from __future__ import annotations

from typing import Final

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from devices.models.command import REASON_LENGTH
from firmware.domain import approvals_queries, policy_operations, policy_queries
from firmware.domain.policy_operations import Rule
from firmware.domain.rollout_operations import RolloutRefused
from portal.enterprise.approvals import pages
from portal.enterprise.approvals.forms import RulesForm
from portal.enterprise.registry.requests import actor_id, own_tenant_id, posted
from portal.frame.permissions import actor_of, requires
from tenants.permissions import Permission

_FOLDER: Final = "enterprise/approvals"


@require_safe
@never_cache
@requires(*approvals_queries.APPROVING, one=True)
def approvals(request: HttpRequest) -> HttpResponse:
    """What waits for the person, the oldest first."""
    found = approvals_queries.approvals(actor_of(request), tenant_id=own_tenant_id(request))
    context = {
        "items": [pages.item(one, request) for one in found.waiting],
        "more": found.more,
        "most": approvals_queries.MOST,
        "longest": REASON_LENGTH,
    }
    return render(request, f"{_FOLDER}/approvals.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(Permission.TENANTS_CHANGE)
def rules(request: HttpRequest) -> HttpResponse:
    """What the tenant demands of commands and roll-outs, and what those above it do."""
    tenant_id = own_tenant_id(request)
    found = policy_queries.rules(tenant_id=tenant_id)
    form = RulesForm(posted(request), rules=found)
    if form.is_bound and form.is_valid():
        try:
            changed = policy_operations.change(
                actor=actor_of(request), tenant_id=tenant_id, wanted=form.change()
            )
        except RolloutRefused as error:
            form.add_error(error.field, str(error))
        else:
            if form.asks_off():
                told = _("Two persons are demanded until another administrator agrees as well.")
                messages.warning(request, told)
            elif changed:
                messages.success(request, _("The rules have been changed."))
            return redirect("control-rules")
    context = {
        "form": form,
        "rules": found,
        "pending": [
            (code, asked, asked.by_id == actor_id(request))
            for code, asked in (
                (Rule.COMMANDS, found.commands.off_asked),
                (Rule.FIRMWARE, found.firmware.off_asked),
            )
            if asked is not None
        ],
    }
    status = 422 if form.is_bound else 200
    return render(request, f"{_FOLDER}/rules.html", context, status=status)


@require_POST
@never_cache
@requires(Permission.TENANTS_CHANGE)
def switch_off(request: HttpRequest, *, rule: str) -> HttpResponse:
    """Agree that a rule which takes two persons is given up."""
    return _decide(request, rule, _("One person is enough from now on."), agree=True)


@require_POST
@never_cache
@requires(Permission.TENANTS_CHANGE)
def keep(request: HttpRequest, *, rule: str) -> HttpResponse:
    """Keep the rule: the wish to give it up is refused, or taken back."""
    return _decide(request, rule, _("It takes two persons as before."), agree=False)


def _decide(request: HttpRequest, rule: str, said: str, *, agree: bool) -> HttpResponse:
    if rule not in set(Rule):
        raise Http404
    if policy_operations.decide(
        actor=actor_of(request),
        tenant_id=own_tenant_id(request),
        rule=Rule(rule),
        agree=agree,
    ):
        messages.success(request, said)
    else:
        messages.info(request, _("Nobody else has asked to give the rule up: nothing was changed."))
    return redirect("approvals" if "approvals" in request.POST else "control-rules")
