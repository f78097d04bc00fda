"""Lists of roll-outs, of what a draft would do, and of the devices of a roll-out."""

from __future__ import annotations

import django_filters
import django_tables2 as columns
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext_lazy

from firmware.domain import rollout_words
from firmware.domain.rollout_plan import Planned
from firmware.models import Rollout, RolloutState, RolloutTarget, TargetState
from portal.enterprise.registry.tables import ROOMY
from portal.enterprise.rollouts import words
from portal.enterprise.rollouts.bars import bar
from portal.frame.filters import PortalFilterSet
from portal.frame.tables import BadgeColumn, NumberColumn, PortalTable


class RolloutTable(PortalTable):
    """Roll-outs, the newest first."""

    empty_icon = "send"
    empty_title = gettext_lazy("No roll-outs")
    empty_body = gettext_lazy(
        "A roll-out brings an approved release to devices, wave by wave, and stops by itself when"
        " something goes wrong."
    )

    name = columns.Column(verbose_name=gettext_lazy("Roll-out"))
    release = columns.Column(
        verbose_name=pgettext_lazy("firmware", "Release"),
        accessor="release__version",
        empty_values=(),
        orderable=False,
    )
    state = BadgeColumn(
        verbose_name=gettext_lazy("State"),
        labels=dict(RolloutState.choices),
        tones=words.STATE_TONES,
    )
    progress = columns.Column(
        verbose_name=gettext_lazy("Progress"),
        empty_values=(),
        orderable=False,
        exclude_from_export=True,
    )
    devices = NumberColumn(verbose_name=gettext_lazy("Devices"))
    succeeded = NumberColumn(verbose_name=gettext_lazy("Updated"))
    failed = NumberColumn(verbose_name=gettext_lazy("Failed"))
    created_at = columns.DateTimeColumn(
        verbose_name=gettext_lazy("Made"), format="SHORT_DATETIME_FORMAT", short=True, attrs=ROOMY
    )

    class Meta:
        order_by = ("-created_at",)

    def render_name(self, value: str, record: Rollout) -> str:
        """The way to its page."""
        return format_html('<a href="{}">{}</a>', reverse("rollout", args=[record.pk]), value)

    def value_name(self, value: str) -> str:
        """The name alone."""
        return value

    def render_release(self, record: Rollout) -> str:
        """Type and version; a roll-back has none."""
        return self.value_release(record)

    def value_release(self, record: Rollout) -> str:
        """The same for programs."""
        if record.release is None:
            return _("what they ran before")
        return f"{record.release.type_code} {record.release.version}"

    def render_progress(self, record: Rollout) -> str:
        """How far it is."""
        counts: dict[str, int] = {
            TargetState.SUCCEEDED: record.succeeded,
            TargetState.FAILED: record.failed,
            TargetState.PENDING: record.waiting,
        }
        return render_to_string("enterprise/rollouts/bar.html", {"bar": bar(counts)})


class RolloutFilter(PortalFilterSet):
    """By words and state."""

    search_fields = ("name", "release__version", "release__type_code")

    state = django_filters.ChoiceFilter(
        label=gettext_lazy("State"), choices=RolloutState.choices, empty_label=gettext_lazy("All")
    )


class PlanTable(PortalTable):
    """What each device of a selection would get."""

    empty_icon = "cpu"
    empty_title = gettext_lazy("No devices")
    empty_body = gettext_lazy("The selection holds no device: change who is meant.")

    name = columns.Column(verbose_name=gettext_lazy("Device"))
    serial = columns.Column(verbose_name=gettext_lazy("Serial"), attrs=ROOMY)
    facility = columns.Column(verbose_name=gettext_lazy("Facility"), attrs=ROOMY)
    version = columns.Column(verbose_name=gettext_lazy("Runs"))
    wave = NumberColumn(verbose_name=pgettext_lazy("roll-out", "Wave"))
    gets = columns.Column(
        verbose_name=gettext_lazy("Gets"), accessor="reason", empty_values=(), orderable=False
    )

    class Meta:
        order_by = ()

    def render_name(self, value: str, record: Planned) -> str:
        """The way to the device."""
        return format_html('<a href="{}">{}</a>', reverse("device", args=[record.device_id]), value)

    def value_name(self, value: str) -> str:
        """The name alone."""
        return value

    def render_wave(self, value: int) -> str:
        """Nothing for who gets nothing."""
        return str(value) if value else "–"

    def value_wave(self, value: int) -> int | str:
        """The same for programs."""
        return value or ""

    def render_gets(self, record: Planned) -> str:
        """Version and bytes, or why not."""
        text = self.value_gets(record)
        if record.reason:
            return format_html('<span class="wl-quiet">{}</span>', text)
        note = _("waits for another roll-out") if record.held_by else ""
        return format_html(
            '<span class="wl-said"><span>{}</span><small>{}</small></span>', text, note
        )

    def value_gets(self, record: Planned) -> str:
        """The same in one line."""
        if record.payload is None:
            return rollout_words.skipped(record.reason)
        what = _("patch") if record.payload.base_sha256 else _("image")
        return f"{record.to_version} ({what}, {words.size(record.payload.size)})"


class TargetTable(PortalTable):
    """The devices of a roll-out."""

    empty_icon = "cpu"
    empty_title = gettext_lazy("No devices")

    device = columns.Column(accessor="device__name", verbose_name=gettext_lazy("Device"))
    serial = columns.Column(
        accessor="device__serial", verbose_name=gettext_lazy("Serial"), attrs=ROOMY
    )
    facility = columns.Column(
        accessor="device__facility__name", verbose_name=gettext_lazy("Facility"), attrs=ROOMY
    )
    wave = NumberColumn(accessor="wave__number", verbose_name=pgettext_lazy("roll-out", "Wave"))
    state = BadgeColumn(
        verbose_name=gettext_lazy("State"),
        labels=dict(TargetState.choices),
        tones=words.TARGET_TONES,
    )
    failure_code = columns.Column(verbose_name=gettext_lazy("Why"))
    from_version = columns.Column(verbose_name=gettext_lazy("From"), attrs=ROOMY)
    attempts = NumberColumn(verbose_name=gettext_lazy("Attempts"), attrs=ROOMY)
    state_at = columns.DateTimeColumn(
        verbose_name=gettext_lazy("Since"), format="SHORT_DATETIME_FORMAT", short=True
    )

    class Meta:
        order_by = ("device",)

    def render_device(self, value: str, record: RolloutTarget) -> str:
        """The way to what happened to it."""
        address = reverse("rollout-target", args=[record.rollout_id, record.pk])
        return format_html('<a href="{}">{}</a>', address, value)

    def value_device(self, value: str) -> str:
        """The name alone."""
        return value

    def render_failure_code(self, value: str, record: RolloutTarget) -> str:
        """The sentence of the code."""
        return why(record.state, value)

    def value_failure_code(self, value: str) -> str:
        """The code."""
        return value


def why(state: str, code: str) -> str:
    """Why a device is in its state; '' without a reason."""
    if not code:
        return ""
    said = rollout_words.skipped if state == TargetState.SKIPPED else rollout_words.failed
    return said(code)


_CODES = sorted({**rollout_words.FAILED, **rollout_words.SKIPPED}.items())


class TargetFilter(PortalFilterSet):
    """By words, state, wave and reason."""

    search_fields = ("device__name", "device__serial", "device__facility__name")

    state = django_filters.ChoiceFilter(
        label=gettext_lazy("State"), choices=TargetState.choices, empty_label=gettext_lazy("All")
    )
    wave = django_filters.NumberFilter(
        field_name="wave__number", label=pgettext_lazy("roll-out", "Wave"), min_value=1
    )
    code = django_filters.ChoiceFilter(
        field_name="failure_code",
        label=gettext_lazy("Why"),
        choices=_CODES,
        empty_label=gettext_lazy("All"),
    )
