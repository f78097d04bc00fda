"""What waits for an approval, in words, with what can be done about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext, pgettext

from firmware.domain.approvals_queries import Kind, Waiting
from portal.enterprise.control import commands_words
from portal.frame.permissions import may
from portal.frame.quantities import number
from tenants.permissions import Permission

# Enough to decide by; the rest is on the page of what waits.
_REASON_LENGTH: Final = 400


@dataclass(frozen=True, slots=True)
class Deed:
    """Something to do: `way` is "post", "reason" (with a form that asks for one) or "page", which
    first says what would follow. `question` is asked before a post.
    """

    label: str
    url: str
    way: str
    question: str = ""


@dataclass(frozen=True, slots=True)
class Item:
    """Something that waits. `approve` and `refuse` are what the person may do about it."""

    key: str
    kind: str
    title: str
    url: str
    about: str
    asked_by: str
    since: datetime
    until: datetime | None
    reason: str
    approve: Deed
    refuse: Deed | None


def item(one: Waiting, request: HttpRequest) -> Item:
    """A line of the page."""
    return _ITEMS[one.kind](one, request)


def _command(one: Waiting, request: HttpRequest) -> Item:
    del request
    batch = one.kind is Kind.BATCH
    route = "batch" if batch else "command"
    about = one.name
    if batch:
        count = ngettext("To %(n)s device", "To %(n)s devices", one.devices)
        about = count % {"n": number(one.devices)}
    return _item(
        one,
        kind=_("Commands to several devices") if batch else _("Command"),
        title=commands_words.summary(one.command, one.arguments),
        url=reverse("command-batch" if batch else "command", args=[one.subject_id]),
        about=about,
        deeds=(
            Deed(_("Approve"), reverse(f"{route}-approve", args=[one.subject_id]), "post"),
            Deed(_("Refuse"), reverse(f"{route}-refuse", args=[one.subject_id]), "reason"),
        ),
    )


def _release(one: Waiting, request: HttpRequest) -> Item:
    delete = Deed(
        _("Delete the draft"),
        reverse("release-delete", args=[one.subject_id]),
        "post",
        _("The draft and its image are deleted."),
    )
    return _item(
        one,
        kind=pgettext("firmware", "Release"),
        title=one.name,
        url=reverse("release", args=[one.subject_id]),
        deeds=(
            Deed(_("Approve"), reverse("release-approve", args=[one.subject_id]), "post"),
            delete if may(request, Permission.FIRMWARE_CHANGE) else None,
        ),
    )


def _rollout(one: Waiting, request: HttpRequest) -> Item:
    wave = one.kind is Kind.WAVE
    code, label = ("abort", _("Abort")) if wave else ("remove", _("Delete the draft"))
    refuse = Deed(label, reverse("rollout-step", args=[one.subject_id, code]), "page")
    approve = reverse("rollout-approval", args=[one.subject_id, "approve"])
    return _item(
        one,
        kind=_("Next wave") if wave else _("Roll-out"),
        title=one.name,
        url=reverse("rollout", args=[one.subject_id]),
        deeds=(
            Deed(_("Approve"), approve, "page"),
            refuse if may(request, Permission.ROLLOUTS_CHANGE) else None,
        ),
    )


def _rule(one: Waiting, request: HttpRequest) -> Item:
    del request
    commands = one.kind is Kind.COMMAND_RULE
    code = RULE_CODES[one.kind]
    title = (
        _("Give up two persons for switching off")
        if commands
        else _("Give up two persons for roll-outs")
    )
    question = _("From then on one person is enough.")
    return _item(
        one,
        kind=_("Rule"),
        title=title,
        url=reverse("control-rules"),
        deeds=(
            Deed(_("Approve"), reverse("control-rule-off", args=[code]), "post", question),
            Deed(_("Refuse"), reverse("control-rule-keep", args=[code]), "post"),
        ),
    )


def _item(
    one: Waiting,
    *,
    kind: str,
    title: str,
    url: str,
    deeds: tuple[Deed, Deed | None],
    about: str = "",
) -> Item:
    reason = one.reason
    if len(reason) > _REASON_LENGTH:
        reason = reason[: _REASON_LENGTH - 1] + "…"
    return Item(
        key=f"{one.kind.value}-{one.subject_id}",
        kind=kind,
        title=title,
        url=url,
        about=about,
        asked_by=one.asked_by or _("A service account"),
        since=one.since,
        until=one.until,
        reason=reason,
        approve=deeds[0],
        refuse=deeds[1],
    )


# In addresses.
RULE_CODES: Final[Mapping[Kind, str]] = {
    Kind.COMMAND_RULE: "commands",
    Kind.FIRMWARE_RULE: "firmware",
}
_ITEMS: Final[Mapping[Kind, Callable[[Waiting, HttpRequest], Item]]] = {
    Kind.COMMAND: _command,
    Kind.BATCH: _command,
    Kind.RELEASE: _release,
    Kind.ROLLOUT: _rollout,
    Kind.WAVE: _rollout,
    Kind.COMMAND_RULE: _rule,
    Kind.FIRMWARE_RULE: _rule,
}
