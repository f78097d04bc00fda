"""Looking at a wave: what was measured is gathered, judged and kept."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction

from firmware.domain import gate_evidence, gate_park
from firmware.domain.gate_evidence import SETTLED, Evidence
from firmware.domain.gate_windows import Windows, windows
from firmware.gate.comparison import Comparison, Park
from firmware.gate.judging import judge
from firmware.gate.limits import GateLimits
from firmware.gate.verdict import GateVerdict
from firmware.models import GateReview, RolloutWave
from firmware.rollout.strategy import Strategy


class NoGateError(Exception):
    """The roll-out has no gate."""


class NotUpdatedError(Exception):
    """No device of the wave has been updated yet."""


def review(*, wave_id: int, now: datetime) -> GateVerdict:
    """Look at a wave of the scope: gather what is stored, judge it, and keep it as a GateReview.

    Before the soak is over, while the roller is behind, and until it is time for the next look,
    nothing is kept: the answer is then the last review, or "wait". Whoever asks for a wave that is
    being looked at waits for it. Raises RolloutWave.DoesNotExist, NoGateError and NotUpdatedError.
    """
    with transaction.atomic():
        wave = RolloutWave.objects.select_for_update().get(pk=wave_id)
        rollout = wave.rollout
        strategy = Strategy.from_json(rollout.strategy)
        if strategy.gate is None:
            raise NoGateError(f"roll-out {rollout.pk} has no gate")
        limits = GateLimits.from_json(strategy.gate)
        last = GateReview.objects.filter(wave=wave).order_by("-look").first()
        begins_at, soaked = _times(wave, strategy)
        over = windows(
            updated_at=begins_at,
            rollout_at=rollout.started_at or begins_at,
            until=now - SETTLED,
            past_days=limits.past_days,
        )
        if over is None or over.until < soaked:
            return _not_yet(begins_at, over, limits, last)
        if last is not None and last.evidence_until >= soaked and _is_young(last, limits, now):
            return GateVerdict.from_json(last.verdict)
        park = gate_park.park_of(wave, since=over.first, updated_at=over.begins_at)
        if park is not None and gate_evidence.is_behind(park, over):
            return _not_yet(begins_at, over, limits, last)
        return _kept(wave, park, over, limits, last, now)


def _kept(
    wave: RolloutWave,
    park: Park | None,
    over: Windows,
    limits: GateLimits,
    last: GateReview | None,
    now: datetime,
) -> GateVerdict:
    evidence = None if park is None else gate_evidence.gather(park, over)
    verdict = judge(_comparison(wave, park, over, evidence, last), limits)
    GateReview.objects.create(
        tenant_id=wave.tenant_id,
        rollout_id=wave.rollout_id,
        wave=wave,
        look=verdict.look,
        at=now,
        begins_at=verdict.begins_at,
        evidence_until=verdict.evidence_until,
        outcome=verdict.outcome,
        needs_person=verdict.needs_person,
        verdict=verdict.to_json(),
        course={} if evidence is None else evidence.course.to_json(),
    )
    return verdict


def _times(wave: RolloutWave, strategy: Strategy) -> tuple[datetime, datetime]:
    """When the last device had confirmed, and when the wave has been left alone since."""
    known = [at for at in (wave.updated_at, wave.soaking_at) if at is not None]
    if not known:
        raise NotUpdatedError(f"wave {wave.pk} is not updated yet")
    return known[0], max(known) + timedelta(seconds=strategy.soak_s)


def _is_young(last: GateReview, limits: GateLimits, now: datetime) -> bool:
    return now - last.at < timedelta(seconds=limits.look_every_s)


def _not_yet(
    begins_at: datetime, over: Windows | None, limits: GateLimits, last: GateReview | None
) -> GateVerdict:
    return GateVerdict(
        outcome="wait",
        metrics=(),
        begins_at=begins_at,
        evidence_until=begins_at if over is None else over.until,
        look=_next_look(last),
        looks=limits.looks,
    )


def _next_look(last: GateReview | None) -> int:
    return 1 if last is None else last.look + 1


def _comparison(
    wave: RolloutWave,
    park: Park | None,
    over: Windows,
    evidence: Evidence | None,
    last: GateReview | None,
) -> Comparison:
    return Comparison(
        park=park or gate_park.NOBODY,
        measures={} if evidence is None else evidence.measures,
        begins_at=over.begins_at,
        evidence_until=over.until,
        # After the last one there is nothing to hold back, and the gate is not asked.
        waves=max(1, RolloutWave.objects.filter(rollout_id=wave.rollout_id).count() - 1),
        look=_next_look(last),
    )
