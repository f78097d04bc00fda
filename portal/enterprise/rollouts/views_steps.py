"""Steps that people take with a roll-out: first what follows from it, then doing it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from firmware.domain import rollout_operations as operations
from firmware.domain import rollout_pages
from firmware.domain.rollout_operations import RolloutNotFound, RolloutRefused
from portal.enterprise.registry.requests import actor_id, posted
from portal.enterprise.rollouts import steps
from portal.enterprise.rollouts.forms import NoteForm
from portal.enterprise.rollouts.steps import STEPS
from portal.frame.permissions import requires
from tenants.permissions import Permission


@dataclass(frozen=True, slots=True)
class _Asked:
    """Who asks for a step of which roll-out, when and why."""

    rollout_id: int
    actor_id: int
    now: datetime
    note: str


def _rolled_back(of: _Asked) -> int:
    row = operations.roll_back(rollout_id=of.rollout_id, now=of.now, actor_id=of.actor_id)
    return row.pk


# Each returns the roll-out whose page comes next, None for the list.
_DO: Final[Mapping[str, Callable[[_Asked], object]]] = {
    "start": lambda of: operations.start(
        rollout_id=of.rollout_id, now=of.now, actor_id=of.actor_id
    ),
    "approve": lambda of: operations.approve(
        rollout_id=of.rollout_id, now=of.now, actor_id=of.actor_id
    ),
    "pause": lambda of: operations.pause(
        rollout_id=of.rollout_id, note=of.note, actor_id=of.actor_id
    ),
    "resume": lambda of: operations.resume(rollout_id=of.rollout_id, actor_id=of.actor_id),
    "advance": lambda of: operations.advance_anyway(
        rollout_id=of.rollout_id, note=of.note, now=of.now, actor_id=of.actor_id
    ),
    "retry": lambda of: operations.retry_failed(
        rollout_id=of.rollout_id, now=of.now, actor_id=of.actor_id
    ),
    "abort": lambda of: operations.abort(
        rollout_id=of.rollout_id, note=of.note, actor_id=of.actor_id
    ),
    "remove": lambda of: operations.remove(rollout_id=of.rollout_id, actor_id=of.actor_id),
}
_SAID: Final[Mapping[str, Promise]] = {
    "start": gettext_lazy("The roll-out was started: the first wave begins."),
    "approve": gettext_lazy("It is approved."),
    "pause": gettext_lazy("The roll-out is paused."),
    "resume": gettext_lazy("The roll-out goes on."),
    "advance": gettext_lazy("The next wave begins."),
    "retry": gettext_lazy("Failed devices are tried again."),
    "rollback": gettext_lazy("The roll-back was started."),
    "abort": gettext_lazy("The roll-out was aborted."),
    "remove": gettext_lazy("The draft was deleted."),
}


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(Permission.FIRMWARE_VIEW, Permission.ROLLOUTS_CHANGE)
def step(request: HttpRequest, *, pk: int, code: str) -> HttpResponse:
    """Start, pause, resume, retry, roll back, abort or delete."""
    if code not in STEPS or code in steps.APPROVALS:
        raise Http404
    return _answer(request, pk, code)


@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
@requires(Permission.FIRMWARE_VIEW, Permission.ROLLOUTS_APPROVE)
def approval(request: HttpRequest, *, pk: int, code: str) -> HttpResponse:
    """Approve, or let the next wave begin anyway."""
    if code not in steps.APPROVALS:
        raise Http404
    return _answer(request, pk, code)


def _answer(request: HttpRequest, pk: int, code: str) -> HttpResponse:
    form = NoteForm(posted(request))
    if request.method == "POST" and form.is_valid():
        done = _done(request, pk, code, form)
        if done is not None:
            return done
    try:
        found = rollout_pages.before(rollout_id=pk, code=code, now=datetime.now(UTC))
    except RolloutNotFound as error:
        raise Http404 from error
    chosen = STEPS[code]
    form.fields["note"].required = chosen.note == "must"
    context = {
        "rollout": found.summary.rollout,
        "step": chosen,
        "form": form,
        "consequences": steps.consequences(chosen, found.summary, found.plan),
    }
    status = 422 if form.errors else 200
    return render(request, "enterprise/rollouts/step.html", context, status=status)


def _done(request: HttpRequest, pk: int, code: str, form: NoteForm) -> HttpResponse | None:
    """Take the step; None, with an error, where the reason is missing."""
    asked = _Asked(pk, actor_id(request), datetime.now(UTC), form.cleaned_data["note"])
    following = pk
    try:
        if code == "rollback":
            following = _rolled_back(asked)
        else:
            _DO[code](asked)
    except RolloutNotFound as error:
        raise Http404 from error
    except RolloutRefused as error:
        if error.field == "note":
            form.add_error("note", str(error))
            return None
        messages.error(request, str(error))
        return redirect("rollout", pk=pk)
    messages.success(request, str(_SAID[code]))
    return redirect("rollout-list") if code == "remove" else redirect("rollout", pk=following)
