"""A new roll-out: what, who, how, with a dry run beside it; then a draft."""

from __future__ import annotations

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from firmware.domain import rollout_operations, rollout_pages, rollout_queries
from firmware.domain.rollout_operations import Draft, RolloutNotFound, RolloutRefused
from firmware.models import Rollout, RolloutState
from firmware.rollout.strategy import Strategy
from portal.enterprise.registry.requests import actor_id, chosen_ids, own_tenant_id
from portal.enterprise.rollouts import pages
from portal.enterprise.rollouts.forms import CHOSEN, WhoForms, fits
from portal.enterprise.rollouts.forms_strategy import StrategyForm
from portal.enterprise.rollouts.presets import NORMAL, PRESETS
from portal.frame.permissions import requires
from tenants.permissions import Permission

_CHANGES = (Permission.FIRMWARE_VIEW, Permission.ROLLOUTS_CHANGE)
_PAGE = "enterprise/rollouts/wizard.html"


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(*_CHANGES)
def create(request: HttpRequest) -> HttpResponse:
    """A new draft. Devices that were chosen in a list come along as single devices."""
    tenant_id = own_tenant_id(request)
    ids = chosen_ids(request, "device")
    if request.method == "POST" and not ids:
        return _keep(request, tenant_id, None)
    choices = rollout_pages.choices(tenant_id=tenant_id)
    who, strategy = WhoForms(None, choices=choices), _preset(request)
    release = request.GET.get("release", "")
    if release:
        who.form.initial["release"] = release
    if ids:
        who.form.initial["who"] = CHOSEN
        who.form.initial["serials"] = "\n".join(rollout_pages.serials(device_ids=ids))
    return _answer(request, who, strategy, None)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(*_CHANGES)
def edit(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Change a draft."""
    try:
        row = rollout_queries.rollout(rollout_id=pk)
    except RolloutNotFound as error:
        raise Http404 from error
    if row.state != RolloutState.DRAFT:
        messages.warning(request, _("It has begun: what it does can no longer be changed."))
        return redirect("rollout", pk=pk)
    if not fits(row):
        messages.warning(
            request, _("The rule of this draft was written by the API and does not fit the form.")
        )
        return redirect("rollout", pk=pk)
    if request.method == "POST":
        return _keep(request, row.tenant_id, row)
    who = WhoForms(None, choices=rollout_pages.choices(tenant_id=row.tenant_id), of=row)
    return _answer(request, who, StrategyForm(of=Strategy.from_json(row.strategy)), row)


@require_safe
@never_cache
@requires(*_CHANGES)
def preset(request: HttpRequest) -> HttpResponse:
    """The settings of a preset, for the form."""
    return render(
        request, "enterprise/rollouts/strategy_fields.html", {"strategy": _preset(request)}
    )


@require_POST
@never_cache
@requires(*_CHANGES)
def preview(request: HttpRequest) -> HttpResponse:
    """What the roll-out in the form would do now; nothing is kept."""
    tenant_id = own_tenant_id(request)
    who = WhoForms(request.POST, choices=rollout_pages.choices(tenant_id=tenant_id))
    who.form.fields["name"].required = False
    strategy = StrategyForm(request.POST)
    context: dict[str, object] = {}
    if who.is_valid() & strategy.is_valid():
        selection = who.selection()
        if selection is not None:
            try:
                found = rollout_pages.preview(
                    tenant_id=tenant_id,
                    release_id=who.form.cleaned_data["release"],
                    selection=selection,
                    strategy=strategy.strategy(),
                )
                context["plan"] = pages.plan(found)
            except RolloutRefused as error:
                _refuse(who, strategy, error)
    context["problems"] = [
        f"{form[name].label}: {text}" if name in form.fields else text
        for form in (who.form, who.rule, strategy)
        for name, texts in form.errors.items()
        # A form that was just opened is not wrong: the page says what to choose.
        if name != "release" or request.POST.get("release")
        for text in texts
    ]
    return render(request, "enterprise/rollouts/preview.html", context)


def _keep(request: HttpRequest, tenant_id: int, row: Rollout | None) -> HttpResponse:
    """Keep what was sent as a draft, or show what is wrong with it."""
    who = WhoForms(request.POST, choices=rollout_pages.choices(tenant_id=tenant_id))
    strategy = StrategyForm(request.POST)
    made = _kept(request, tenant_id, row, who, strategy)
    if made is None:
        return _answer(request, who, strategy, row)
    messages.success(request, _("The draft was saved. Nothing has been sent to any device."))
    return redirect("rollout", pk=made.pk)


def _kept(
    request: HttpRequest,
    tenant_id: int,
    row: Rollout | None,
    who: WhoForms,
    strategy: StrategyForm,
) -> Rollout | None:
    if not who.is_valid() & strategy.is_valid():
        return None
    selection = who.selection()
    if selection is None:
        return None
    data = who.form.cleaned_data
    draft = Draft(
        name=data["name"],
        release_id=data["release"],
        selection=selection,
        strategy=strategy.strategy(),
        priority=data["priority"],
    )
    actor = actor_id(request)
    try:
        if row is None:
            return rollout_operations.create(tenant_id=tenant_id, draft=draft, actor_id=actor)
        return rollout_operations.change(rollout_id=row.pk, draft=draft, actor_id=actor)
    except RolloutNotFound as error:
        raise Http404 from error
    except RolloutRefused as error:
        _refuse(who, strategy, error)
        return None


def _refuse(who: WhoForms, strategy: StrategyForm, error: RolloutRefused) -> None:
    """Tell what is refused where it was entered."""
    if error.field in who.form.fields:
        who.form.add_error(error.field, str(error))
    elif error.field == "selection":
        who.form.add_error("who", str(error))
    else:
        strategy.refuse(error.field, str(error))


def _preset(request: HttpRequest) -> StrategyForm:
    code = request.GET.get("preset", NORMAL)
    return StrategyForm(of=PRESETS.get(code, PRESETS[NORMAL]).strategy)


def _answer(
    request: HttpRequest, who: WhoForms, strategy: StrategyForm, row: Rollout | None
) -> HttpResponse:
    bad = who.form.errors or who.rule.errors or strategy.errors
    context = {
        "form": who.form,
        "rule": who.rule,
        "strategy": strategy,
        "presets": [(code, one) for code, one in PRESETS.items()],
        "rollout": row,
    }
    return render(request, _PAGE, context, status=422 if bad else 200)
