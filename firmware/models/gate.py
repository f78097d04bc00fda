"""What the telemetry gate said of the waves of roll-outs."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from firmware.models.rollout import Rollout, RolloutWave
from tenants.models import TenantOwned


class GateOutcome(models.TextChoices):
    """PASS: inside the limits. WAIT: not decided. FAIL: beyond a limit."""

    PASS = "pass", _("Passed")
    WAIT = "wait", _("Undecided")
    FAIL = "fail", _("Failed")


class GateReview(TenantOwned):
    """One look at a wave; append-only.

    `at` is when it was made, `evidence_until` up to when it knows what was measured. `verdict` is a
    `firmware.gate.verdict.GateVerdict`, `course` a `firmware.domain.gate_evidence.Course`, both as
    JSON.
    """

    rollout = models.ForeignKey(Rollout, on_delete=models.PROTECT, related_name="gate_reviews")
    wave = models.ForeignKey(RolloutWave, on_delete=models.PROTECT, related_name="gate_reviews")
    look = models.PositiveSmallIntegerField()
    at = models.DateTimeField()
    begins_at = models.DateTimeField()
    evidence_until = models.DateTimeField()
    outcome = models.CharField(max_length=4, choices=GateOutcome)
    needs_person = models.BooleanField(default=False)
    verdict = models.JSONField()
    course = models.JSONField(default=dict)

    class Meta:
        ordering = ["wave", "look"]
        constraints = [
            models.UniqueConstraint(fields=["wave", "look"], name="firmware_gatereview_look_once"),
            models.CheckConstraint(
                condition=models.Q(outcome__in=GateOutcome.values),
                name="firmware_gatereview_outcome_known",
            ),
            models.CheckConstraint(
                condition=models.Q(begins_at__lte=models.F("evidence_until"))
                & models.Q(evidence_until__lte=models.F("at")),
                name="firmware_gatereview_times_ordered",
            ),
        ]

    def __str__(self) -> str:
        return f"look {self.look} at wave {self.wave_id}"
