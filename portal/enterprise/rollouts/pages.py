"""What the pages of roll-outs show, prepared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from devices.domain.selection import Selection
from firmware.domain import rollout_pages, rollout_words
from firmware.domain.rollout_pages import DeviceFirmware, Shown
from firmware.domain.rollout_plan import Plan
from firmware.domain.rollout_queries import Summary, WaveSummary
from firmware.models import (
    RolloutState,
    RolloutTarget,
    TargetState,
    UpdateEvent,
    WaveState,
)
from firmware.rollout.strategy import Strategy
from portal.charts.gate import ReviewChart, review_chart
from portal.enterprise.registry.requests import actor_id
from portal.enterprise.rollouts import steps, words
from portal.enterprise.rollouts.bars import Bar, bar
from portal.enterprise.rollouts.tables import why
from portal.frame.permissions import may
from portal.frame.quantities import number
from tenants.permissions import Permission


@dataclass(frozen=True, slots=True)
class Count:
    """A number with what it counts, and the way to the devices."""

    label: str
    count: str
    url: str
    tone: str = ""


@dataclass(frozen=True, slots=True)
class WaveLine:
    """A wave as the live page shows it."""

    number: int
    state: str
    tone: str
    devices: str
    bar: Bar
    url: str
    since: datetime | None
    note: str
    review: ReviewChart | None


def plan(found: Plan) -> dict[str, Any]:
    """A dry run in numbers."""
    return {
        "getting": found.getting,
        "all": len(found.devices),
        "waves": [
            {"number": index, "devices": number(size)} for index, size in enumerate(found.waves, 1)
        ],
        "reasons": [
            (rollout_words.skipped(code), number(count))
            for code, count in words.in_order(found.reasons)
        ],
        "bytes": words.size(found.bytes),
        "deltas": found.deltas,
        "held": found.held,
    }


def page(found: Shown, request: HttpRequest) -> dict[str, Any]:
    """What drafts and running roll-outs have in common."""
    row, summary = found.rollout, found.summary
    return {
        "rollout": row,
        "tone": words.STATE_TONES[RolloutState(row.state)],
        "reason": summary.reason,
        "strategy": words.strategy(Strategy.from_json(row.strategy)),
        "who": who(row.selection),
        "steps": steps.offered(
            row,
            second_person=found.second_person,
            person_id=actor_id(request),
            may_change=may(request, Permission.ROLLOUTS_CHANGE),
            may_approve=may(request, Permission.ROLLOUTS_APPROVE),
            # What was taken back is not tried again.
            failed=0 if summary.rollbacks else summary.counts.get(TargetState.FAILED, 0),
        ),
        "may_change": may(request, Permission.ROLLOUTS_CHANGE),
        "zone": timezone.get_current_timezone_name(),
    }


def draft(found: Shown, request: HttpRequest) -> dict[str, Any]:
    """A draft with its dry run."""
    assert found.plan is not None
    row = found.rollout
    needs = found.second_person and row.approved_by_id is None
    return {
        **page(found, request),
        "plan": plan(found.plan),
        "needs_approval": needs,
        "waits_for_another": needs and row.is_of(actor_id(request)),
    }


def live(found: Shown, request: HttpRequest) -> dict[str, Any]:
    """A roll-out that has begun."""
    summary = found.summary
    looks = {wave: review_chart(look) for wave, look in found.looks.items()}
    gated = Strategy.from_json(found.rollout.strategy).gate is not None
    last = summary.waves[-1].wave.number if gated and summary.waves else None
    return {
        **page(found, request),
        "summary": summary,
        "bar": bar(summary.counts),
        "states": _states(summary),
        "speed": _speed(summary),
        "waves": [_wave(one, looks, summary, last) for one in summary.waves],
        "failures": _codes(summary, TargetState.FAILED, summary.failures),
        "retrying": _codes(summary, TargetState.WAITING, summary.retrying),
        "skipped": _codes(summary, TargetState.SKIPPED, summary.skipped),
        "driven": summary.is_driven,
    }


def who(selection: Mapping[str, Any]) -> list[str]:
    """Who is meant, without looking anything up: names are in the form."""
    if not any(selection.values()):
        # A roll-back whose devices are still installing what it takes back.
        return ["–"]
    chosen = Selection.from_json(selection)
    if chosen.everything:
        return [_("All devices")]
    lines = []
    if chosen.groups:
        count = len(chosen.groups)
        lines.append(ngettext("%(n)d group", "%(n)d groups", count) % {"n": count})
    if chosen.rule is not None:
        count = len(chosen.rule.conditions)
        lines.append(
            ngettext("a rule of %(n)d condition", "a rule of %(n)d conditions", count)
            % {"n": count}
        )
    if chosen.devices:
        count = len(chosen.devices)
        lines.append(
            ngettext("%(n)s named device", "%(n)s named devices", count) % {"n": number(count)}
        )
    return lines


def devices_url(rollout_id: int, **filters: Any) -> str:
    """The list of a roll-out's devices."""
    return f"{reverse('rollout-devices', args=[rollout_id])}?{urlencode(filters)}"


def _states(summary: Summary) -> list[Count]:
    return [
        Count(
            str(state.label),
            number(summary.counts.get(state, 0)),
            devices_url(summary.rollout.pk, state=state.value),
            words.TARGET_TONES.get(state, ""),
        )
        for state in TargetState
        if summary.counts.get(state)
    ]


def _speed(summary: Summary) -> list[tuple[str, str]]:
    lines = [
        (_("Downloads now"), number(summary.downloads)),
        (_("Finished in the last 5 minutes"), words.rate(summary.bytes_per_s)),
    ]
    if summary.granted:
        lines.append((_("Granted to downloads"), words.rate(summary.granted)))
    return lines


def _wave(
    one: WaveSummary, looks: Mapping[int, ReviewChart], summary: Summary, ungated: int | None
) -> WaveLine:
    """`ungated`: the wave after which the gate of the roll-out is not asked."""
    row = one.wave
    state = WaveState(row.state)
    notes = {
        WaveState.SOAKING: _("The updated devices are left alone before the wave is judged."),
        WaveState.JUDGED: _("The rest is over: what follows is being decided."),
    }
    since = {
        WaveState.RUNNING: row.started_at,
        WaveState.SOAKING: row.soaking_at,
        WaveState.JUDGED: row.judged_at,
        WaveState.DONE: row.ended_at,
    }
    note = notes.get(state, "") if summary.is_driven else ""
    if row.number == ungated:
        note = _("The gate is not asked after this wave: there is nothing left to hold back.")
    if row.overruled:
        note = _("A person let the next wave begin in spite of what became of this one.")
    return WaveLine(
        number=row.number,
        state=str(state.label),
        tone=words.WAVE_TONES.get(state, ""),
        devices=number(one.devices or row.size),
        bar=bar(one.counts),
        url=devices_url(row.rollout_id, wave=row.number),
        since=since.get(state),
        note=note,
        review=looks.get(row.number),
    )


def _codes(summary: Summary, state: TargetState, counts: Mapping[str, int]) -> list[Count]:
    return [
        Count(
            why(state, code),
            number(count),
            devices_url(summary.rollout.pk, state=state.value, code=code),
        )
        for code, count in words.in_order(counts)
    ]


def event(one: UpdateEvent) -> dict[str, Any]:
    """Something that happened to a device, in words."""
    title, tone = words.EVENTS.get(one.kind, (one.kind, ""))
    parts = [rollout_words.failed(one.code) if one.code else "", one.detail]
    done, whole = one.data.get("offset"), one.data.get("size")
    if one.kind == "progress" and isinstance(done, int) and isinstance(whole, int):
        parts.append(
            _("%(done)s of %(whole)s") % {"done": words.size(done), "whole": words.size(whole)}
        )
    return {"at": one.at, "title": title, "tone": tone, "text": " · ".join(filter(None, parts))}


def update(one: RolloutTarget) -> dict[str, Any]:
    """An update of a device."""
    state = TargetState(one.state)
    share = None
    if state == TargetState.DOWNLOADING and one.payload_size:
        share = min(100, one.offset * 100 // one.payload_size)
    return {
        "pk": one.pk,
        "rollout_id": one.rollout_id,
        "from": one.from_version,
        "to": one.to_version,
        "state": state.label,
        "tone": words.TARGET_TONES.get(state, ""),
        "why": why(one.state, one.failure_code),
        "at": one.state_at,
        "attempts": one.attempts,
        "share": share,
    }


def device(found: DeviceFirmware) -> dict[str, Any]:
    """The firmware of a device, with its updates."""
    return {
        "device": found.device,
        "zone": found.device.facility.time_zone,
        "version": found.link.version,
        "image": found.link.image,
        "hardware": found.link.hardware,
        "since": found.since,
        "under_way": update(found.under_way) if found.under_way else None,
        "updates": [update(one) for one in found.history if one.state != TargetState.PENDING],
        "most": rollout_pages.HISTORY,
    }
