"""The shapes of roll-outs, their devices, and what happened to them."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from firmware.domain import rollout_words
from firmware.domain.rollout_operations import LONGEST_NOTE, MOST_PRIORITY
from firmware.domain.rollout_queries import Summary, WaveSummary
from firmware.models import RolloutKind, RolloutState, TargetState, WaveState
from portal.api import serializers as shapes

_STRATEGY = (
    '`waves` (devices reached after each: `{"count": 1}` or `{"percent": 10}`), `soak_s`,'
    " `approval_between`, `success_percent`, `error_percent`, `error_count`, `on_error` (pause,"
    " abort, rollback), `windows` (`weekdays` from 0 for Monday, `start`, `end`), `jitter_s`,"
    " `max_downloads`, `bytes_per_s`, `retries`, `offer_s`, `download_s`, `install_s`, `confirm_s`,"
    " `join_days`, `gate`; what is left out is as usual."
)
_SELECTION = "`everything`, `groups`, `rule`, `devices`, as for commands: what is named adds up."


class RolloutQuery(shapes.PageQuery):
    """Which roll-outs."""

    state = serializers.ChoiceField(RolloutState.choices, required=False)


class TargetQuery(shapes.PageQuery):
    """Which devices of a roll-out."""

    state = serializers.ChoiceField(TargetState.choices, required=False)
    wave = serializers.IntegerField(required=False, min_value=1, max_value=100)
    code = serializers.CharField(
        required=False, max_length=16, help_text="Why it failed, or was left out."
    )


class PlanQuery(shapes.PageQuery):
    """Which devices of a dry run; its numbers are those of all."""

    limit = serializers.IntegerField(
        required=False,
        default=1_000,
        min_value=1,
        max_value=20_000,
        help_text="Devices in a page.",
    )


class PlanBody(shapes.Body):
    """What a dry run is asked about."""

    release = serializers.IntegerField(min_value=1, max_value=shapes.MAX_ID)
    selection = serializers.JSONField(help_text=_SELECTION)
    strategy = serializers.JSONField(required=False, default=dict, help_text=_STRATEGY)


class RolloutBody(PlanBody):
    """A roll-out as a draft."""

    name = serializers.CharField(max_length=120)
    priority = serializers.IntegerField(
        required=False, default=0, min_value=-MOST_PRIORITY, max_value=MOST_PRIORITY
    )


class NoteBody(shapes.Body):
    """Why."""

    note = serializers.CharField(
        required=False, default="", allow_blank=True, max_length=LONGEST_NOTE
    )


class RetryBody(shapes.Body):
    """Which failures are tried again."""

    codes = serializers.ListField(
        child=serializers.CharField(max_length=16),
        required=False,
        default=list,
        max_length=50,
        help_text="Empty: all.",
    )


class RolloutSerializer(serializers.Serializer[Any]):
    """A roll-out with the number of its devices."""

    id = serializers.IntegerField(source="pk")
    tenant = serializers.IntegerField(source="tenant_id")
    name = serializers.CharField()
    kind = serializers.ChoiceField(RolloutKind.choices)
    release = serializers.IntegerField(
        source="release_id", allow_null=True, help_text="Null for a roll-back."
    )
    takes_back = serializers.IntegerField(source="parent_id", allow_null=True)
    state = serializers.ChoiceField(RolloutState.choices)
    priority = serializers.IntegerField()
    devices = serializers.IntegerField(help_text="That get something; 0 before the start.")
    succeeded = serializers.IntegerField()
    failed = serializers.IntegerField()
    open = serializers.IntegerField(source="waiting", help_text="Not at their end.")
    created_at = serializers.DateTimeField()
    started_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)


class WaveSerializer(serializers.Serializer[Any]):
    """A wave; `devices` by state."""

    number = serializers.IntegerField(source="wave.number")
    state = serializers.ChoiceField(WaveState.choices, source="wave.state")
    devices = serializers.DictField(child=serializers.IntegerField(), source="counts")
    started_at = serializers.DateTimeField(source="wave.started_at", allow_null=True)
    updated_at = serializers.DateTimeField(
        source="wave.updated_at", allow_null=True, help_text="When the last device confirmed."
    )
    ended_at = serializers.DateTimeField(source="wave.ended_at", allow_null=True)
    gate = serializers.SerializerMethodField(
        help_text="What the telemetry gate said last: `outcome`, `at`, `verdict`; or null."
    )

    def get_gate(self, of: WaveSummary) -> dict[str, Any] | None:
        """The last look."""
        last = of.review
        if last is None:
            return None
        return {"outcome": last.outcome, "at": last.at, "verdict": last.verdict}


class SummarySerializer(serializers.Serializer[Any]):
    """How a roll-out stands."""

    rollout = RolloutSerializer()
    reason = serializers.CharField(help_text="Why it is paused, aborted or waits; or empty.")
    selection = serializers.JSONField(source="rollout.selection", help_text=_SELECTION)
    strategy = serializers.JSONField(source="rollout.strategy", help_text=_STRATEGY)
    waves = WaveSerializer(many=True)
    devices = serializers.DictField(
        child=serializers.IntegerField(), source="counts", help_text="By state."
    )
    failures = serializers.DictField(child=serializers.IntegerField(), help_text="By code.")
    skipped = serializers.DictField(child=serializers.IntegerField(), help_text="By code.")
    downloads = serializers.IntegerField(help_text="At the moment.")
    bytes_per_s = serializers.FloatField(help_text="In the last minutes.")
    ends_at = serializers.DateTimeField(allow_null=True, help_text="At this pace.")
    rollbacks = serializers.SerializerMethodField(help_text="What takes it back, by id.")

    def get_rollbacks(self, of: Summary) -> list[int]:
        """Ids."""
        return [row.pk for row in of.rollbacks]


class PlannedSerializer(serializers.Serializer[Any]):
    """What a device would get, or why nothing."""

    device = serializers.IntegerField(source="device_id")
    serial = serializers.CharField()
    from_version = serializers.CharField(source="version")
    to_version = serializers.CharField()
    wave = serializers.IntegerField(help_text="0: it gets nothing.")
    code = serializers.CharField(source="reason", help_text="Why it gets nothing; or empty.")
    reason = serializers.SerializerMethodField()
    bytes = serializers.SerializerMethodField(help_text="Of its download; null for nothing.")
    held_by = serializers.IntegerField(help_text="The roll-out that has it now; or 0.")

    def get_reason(self, of: Any) -> str:
        """As a sentence."""
        return rollout_words.skipped(of.reason) if of.reason else ""

    def get_bytes(self, of: Any) -> int | None:
        """Image or patch."""
        return None if of.payload is None else of.payload.size


class PlanSerializer(serializers.Serializer[Any]):
    """A dry run."""

    getting = serializers.IntegerField()
    waves = serializers.ListField(child=serializers.IntegerField(), help_text="Their sizes.")
    reasons = serializers.DictField(
        child=serializers.IntegerField(), help_text="Devices that get nothing, by code."
    )
    bytes = serializers.IntegerField(help_text="Of all downloads.")
    deltas = serializers.IntegerField(help_text="Devices that get a patch.")
    held = serializers.IntegerField(help_text="Devices that another roll-out has now.")
    devices = PlannedSerializer(many=True, help_text="A page of them, by id.")
    next = serializers.URLField(
        allow_null=True, help_text="The next page of devices; null at the end."
    )
    next_cursor = serializers.CharField(allow_null=True)


class RolloutTargetSerializer(serializers.Serializer[Any]):
    """A device of a roll-out."""

    id = serializers.IntegerField(source="pk")
    rollout = serializers.IntegerField(source="rollout_id")
    device = serializers.IntegerField(source="device_id")
    state = serializers.ChoiceField(TargetState.choices)
    since = serializers.DateTimeField(source="state_at")
    code = serializers.CharField(source="failure_code", help_text="Why it failed or got nothing.")
    attempts = serializers.IntegerField()
    from_version = serializers.CharField()
    to_version = serializers.CharField()
    offset = serializers.IntegerField(help_text="Bytes downloaded.")
    size = serializers.IntegerField(source="payload_size", help_text="Bytes to download.")


class RetriedSerializer(serializers.Serializer[Any]):
    """How many devices are tried again."""

    devices = serializers.IntegerField()
