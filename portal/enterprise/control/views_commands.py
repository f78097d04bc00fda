"""Commands: of one device, of many with a preview, their lists, histories and approvals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from django.contrib import messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from devices.commands.kinds import FORMS as KIND_FORMS
from devices.commands.kinds import Kind
from devices.domain import commands_decisions as decisions
from devices.domain import commands_operations as operations
from devices.domain import commands_queries as queries
from devices.domain import control_queries
from devices.domain.commands_decisions import CommandNotFound, Decided
from devices.domain.commands_operations import BatchNotFound
from devices.domain.commands_policy import NotAllowedError
from devices.domain.commands_targets import DevicesNotFound, foresee
from devices.domain.queries import DeviceNotFound
from devices.domain.selection import MAX_NAMED
from portal.enterprise.control import commands_words as words
from portal.enterprise.control.choosing import meant, named
from portal.enterprise.control.forms_commands import FORMS, CommandForm, WhyForm
from portal.enterprise.control.tables_commands import BatchTable, CommandFilter, CommandTable
from portal.enterprise.registry.forms import add_errors
from portal.enterprise.registry.requests import actor_id, posted
from portal.frame.listing import render_list
from portal.frame.permissions import actor_of, may, requires
from tenants.permissions import Permission

_SEES = (Permission.DEVICES_VIEW,)
_CONTROLS = (Permission.DEVICES_VIEW, Permission.DEVICES_CONTROL)
_APPROVES = (Permission.DEVICES_VIEW, Permission.DEVICES_APPROVE)


@require_safe
@never_cache
@requires(*_SEES)
def command_list(request: HttpRequest) -> HttpResponseBase:
    """The commands of the scope: the newest, unless something is looked for or a file is wanted."""
    if any(request.GET.get(name) for name in ("q", "kind", "export")):
        rows, older = control_queries.command_rows(), False
    else:
        rows, older = control_queries.newest_rows(state=request.GET.get("state", ""))
    return render_list(
        request,
        table_class=CommandTable,
        rows=rows,
        filterset_class=CommandFilter,
        template="enterprise/control/commands.html",
        context={
            "awaiting": control_queries.awaiting(),
            "newest": control_queries.MOST_LISTED if older else None,
        },
    )


@require_safe
@never_cache
@requires(*_SEES)
def batch_list(request: HttpRequest) -> HttpResponseBase:
    """The requests for many devices."""
    return render_list(
        request,
        table_class=BatchTable,
        rows=control_queries.batch_rows(),
        template="enterprise/control/batches.html",
    )


@require_safe
@never_cache
@requires(*_SEES)
def command(request: HttpRequest, *, pk: int) -> HttpResponse:
    """A command with all that has happened to it."""
    try:
        found = queries.command_detail(command_id=pk)
    except CommandNotFound as error:
        raise Http404 from error
    context = {
        **words.detail(found, found.command.time_zone),
        **_rights(request, asked_by=found.command.asked_by_id),
        "why": WhyForm(),
    }
    return render(request, "enterprise/control/command.html", context)


@require_safe
@never_cache
@requires(*_SEES)
def batch(request: HttpRequest, *, pk: int) -> HttpResponseBase:
    """A request for many devices: how far it has come, device by device."""
    try:
        found = queries.batch_entry(batch_id=pk)
    except BatchNotFound as error:
        raise Http404 from error
    return render_list(
        request,
        table_class=CommandTable,
        rows=control_queries.command_rows(batch_id=pk),
        filterset_class=CommandFilter,
        template="enterprise/control/batch.html",
        context={
            "batch": words.batch(found),
            **_rights(request, asked_by=found.asked_by_id),
            "why": WhyForm(),
        },
    )


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(*_SEES)
def device_control(request: HttpRequest, *, pk: int) -> HttpResponse:
    """What can be done with a device, what was done, and why its output is as it is."""
    may_control = may(request, Permission.DEVICES_CONTROL)
    if request.method == "POST" and not may_control:
        raise PermissionDenied
    try:
        found = control_queries.control_of(device_id=pk)
    except DeviceNotFound as error:
        raise Http404 from error
    offered = [kind for kind in FORMS if kind in found.kinds] if may_control else []
    kind = _kind(request, offered)
    form = None if kind is None else FORMS[kind](posted(request))
    if request.method == "POST" and kind is not None and form is not None and form.is_valid():
        asked = _asked(request, form, kind, [pk])
        if asked is not None:
            return redirect("command", pk=asked.command_ids[0])
    context = {
        **words.control(found),
        **_chosen(kind, form),
        "offered": [{"code": one.value, "label": words.kind(one)} for one in offered],
        "may_control": may_control,
    }
    status = 422 if form is not None and form.errors else 200
    return render(request, "enterprise/control/control.html", context, status=status)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(*_CONTROLS)
def ask_many(request: HttpRequest) -> HttpResponse:
    """The same command for chosen devices, for a group, or for what a filter of the list leaves.

    First who would get it and who cannot, then the same again to send it.
    """
    ids = meant(request)
    if not ids or len(ids) > MAX_NAMED:
        messages.warning(
            request,
            _("More than %(most)d devices are meant: narrow the list.") % {"most": MAX_NAMED}
            if ids
            else _("Choose devices in the list first."),
        )
        return redirect("device-list")
    kind = _kind(request, list(FORMS)) or Kind.SET_OUTPUT
    step = request.POST.get("step", "")
    form = FORMS[kind](request.POST if step else None)
    context: dict[str, Any] = {"count": len(ids), "ids": named(request, ids)}
    if step and form.is_valid():
        token = form.token(ids)
        if step == "apply" and form.cleaned_data["shown"] == token:
            asked = _asked(request, form, kind, ids)
            if asked is not None:
                return _made(asked)
        else:
            context |= _foreseen(form, kind, ids)
            context["moved"] = step == "apply"
            form.show(token)
    context |= _chosen(kind, form)
    context["offered"] = [{"code": one.value, "label": words.kind(one)} for one in FORMS]
    status = 422 if form.errors else 200
    return render(request, "enterprise/control/ask_many.html", context, status=status)


@require_POST
@never_cache
@requires(*_APPROVES)
def approve(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Agree to a command that somebody else has asked for."""
    return _decide(
        request, "command", pk, lambda: decisions.approve(actor_of(request), command_id=pk)
    )


@require_POST
@never_cache
@requires(*_APPROVES)
def refuse(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Do not agree, and say why."""
    reason = request.POST.get("reason", "")
    return _decide(
        request,
        "command",
        pk,
        lambda: decisions.refuse(actor_of(request), command_id=pk, reason=reason),
    )


@require_POST
@never_cache
@requires(*_CONTROLS)
def cancel(request: HttpRequest, *, pk: int) -> HttpResponse:
    """A command is not wanted any more."""
    return _decide(
        request, "command", pk, lambda: decisions.cancel(actor_of(request), command_id=pk)
    )


@require_POST
@never_cache
@requires(*_APPROVES)
def approve_batch(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Agree to what somebody else has asked of many devices."""
    return _decide(
        request, "command-batch", pk, lambda: decisions.approve(actor_of(request), batch_id=pk)
    )


@require_POST
@never_cache
@requires(*_APPROVES)
def refuse_batch(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Do not agree, and say why."""
    reason = request.POST.get("reason", "")
    return _decide(
        request,
        "command-batch",
        pk,
        lambda: decisions.refuse(actor_of(request), batch_id=pk, reason=reason),
    )


@require_POST
@never_cache
@requires(*_CONTROLS)
def cancel_batch(request: HttpRequest, *, pk: int) -> HttpResponse:
    """What was never sent is not wanted any more."""
    return _decide(
        request, "command-batch", pk, lambda: decisions.cancel(actor_of(request), batch_id=pk)
    )


@require_POST
@never_cache
@requires(*_CONTROLS)
def retry_batch(request: HttpRequest, *, pk: int) -> HttpResponse:
    """Ask those again that have failed or expired."""
    try:
        asked = operations.retry_failed(actor_of(request), batch_id=pk)
    except BatchNotFound as error:
        raise Http404 from error
    except (ValidationError, NotAllowedError) as error:
        messages.error(request, _sentence(error))
        return redirect("command-batch", pk=pk)
    messages.success(request, _("The devices are asked again."))
    return redirect("command-batch", pk=pk if asked.batch is None else asked.batch.pk)


def _decide(
    request: HttpRequest, route: str, pk: int, decide: Callable[[], Decided]
) -> HttpResponse:
    # Whoever decides in the list of all approvals goes on there.
    back = redirect("approvals") if "approvals" in request.POST else redirect(route, pk=pk)
    try:
        decided = decide()
    except (CommandNotFound, BatchNotFound) as error:
        raise Http404 from error
    except (ValidationError, NotAllowedError) as error:
        messages.error(request, _sentence(error))
        return back
    count = len(decided.command_ids)
    told = ngettext("Done for %(n)d command.", "Done for %(n)d commands.", count) % {"n": count}
    if left := sum(decided.left.values()):
        told += " " + ngettext(
            "%(n)d was left as it is: it had gone on.",
            "%(n)d were left as they are: they had gone on.",
            left,
        ) % {"n": left}
    messages.success(request, told)
    return back


def _sentence(error: ValidationError | NotAllowedError) -> str:
    return " ".join(error.messages) if isinstance(error, ValidationError) else str(error)


def _kind(request: HttpRequest, offered: Sequence[Kind]) -> Kind | None:
    """The command that is meant: the first that is offered, unless one is named."""
    code = request.POST.get("kind") or request.GET.get("kind", "")
    for one in offered:
        if one.value == code:
            return one
    return offered[0] if offered else None


def _chosen(kind: Kind | None, form: CommandForm | None) -> dict[str, Any]:
    if kind is None or form is None:
        return {}
    if not form.asks_reason:
        form.fields.pop("reason", None)
    return {
        "form": form,
        "kind": {
            "code": kind.value,
            "label": words.kind(kind),
            "consequence": words.CONSEQUENCES.get(kind, ""),
        },
    }


def _asked(
    request: HttpRequest, form: CommandForm, kind: Kind, ids: Sequence[int]
) -> operations.Asked | None:
    """What was made; None where it was refused, which then stands in the form."""
    try:
        asked = operations.ask(
            actor_of(request),
            kind=kind.value,
            arguments=form.arguments(),
            device_ids=ids,
            reason=form.cleaned_data.get("reason", ""),
        )
    except ValidationError as error:
        add_errors(form, error)
    except NotAllowedError as error:
        form.add_error(None, str(error))
    except DevicesNotFound as error:
        raise Http404 from error
    else:
        count = len(asked.command_ids)
        messages.success(
            request,
            ngettext("%(n)d command was made.", "%(n)d commands were made.", count) % {"n": count},
        )
        return asked
    return None


def _made(asked: operations.Asked) -> HttpResponse:
    """To what was made: the one command, the batch, or those of several tenants."""
    if not asked.batches:
        return redirect("command", pk=asked.command_ids[0])
    if asked.batch is not None and len(asked.batches) == 1:
        return redirect("command-batch", pk=asked.batch.pk)
    return redirect("batch-list")


def _foreseen(form: CommandForm, kind: Kind, ids: Sequence[int]) -> dict[str, Any]:
    try:
        found = foresee(device_ids=ids, needed=KIND_FORMS[kind].capabilities)
    except ValidationError as error:
        add_errors(form, error)
        return {}
    except DevicesNotFound as error:
        raise Http404 from error
    return {"plan": words.foreseen(found, words.summary(kind, form.travelling()))}


def _rights(request: HttpRequest, *, asked_by: int | None) -> dict[str, bool]:
    """What the person may do with a command; nobody approves what they have asked for."""
    may_approve = may(request, Permission.DEVICES_APPROVE)
    own = asked_by == actor_id(request)
    return {
        "may_control": may(request, Permission.DEVICES_CONTROL),
        "may_approve": may_approve and not own,
        "own": own,
    }
