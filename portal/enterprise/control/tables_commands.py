"""The lists of commands and of batches."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import django_filters
import django_tables2 as columns
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy

from devices.domain.commands_queries import BatchEntry, batches_of, cause_in_words
from devices.models import Command, CommandBatch, CommandState
from portal.enterprise.control import commands_words as words
from portal.enterprise.registry.tables import ROOMY
from portal.frame.filters import PortalFilterSet
from portal.frame.quantities import number
from portal.frame.tables import BadgeColumn, NumberColumn, PortalTable


class CommandTable(PortalTable):
    """Commands, the newest first."""

    empty_icon = "adjustments"
    empty_title = gettext_lazy("No commands")
    empty_body = gettext_lazy(
        "Open a device and choose Control, or choose devices in the list and send them a command."
    )

    kind = columns.Column(verbose_name=gettext_lazy("Command"))
    device = columns.Column(verbose_name=gettext_lazy("Device"), accessor="device__name")
    state = BadgeColumn(
        verbose_name=gettext_lazy("State"), labels=words.STATES, tones=dict(words.TONES)
    )
    cause = columns.Column(verbose_name=gettext_lazy("Why"), orderable=False, attrs=ROOMY)
    asked_by = columns.Column(
        verbose_name=gettext_lazy("Asked by"), orderable=False, empty_values=(), attrs=ROOMY
    )
    asked_at = columns.DateTimeColumn(
        verbose_name=gettext_lazy("Asked"), format="SHORT_DATETIME_FORMAT", short=True
    )

    class Meta:
        order_by = ("-asked_at",)

    def render_kind(self, record: Command) -> str:
        """What it asks for, with the way to its page."""
        return format_html(
            '<a href="{}">{}</a>',
            reverse("command", args=[record.pk]),
            words.summary(record.kind, record.arguments),
        )

    def value_kind(self, record: Command) -> str:
        """The same in words."""
        return words.summary(record.kind, record.arguments)

    def render_device(self, value: str, record: Command) -> str:
        """The way to the device."""
        return format_html(
            '<a href="{}">{}</a>', reverse("device-control", args=[record.device_id]), value
        )

    def value_device(self, record: Command) -> str:
        """Its serial, which no other has."""
        return record.device.serial

    def render_cause(self, value: str) -> str:
        """In words."""
        return cause_in_words(value) or "–"

    def value_cause(self, value: str) -> str:
        """The code."""
        return value

    def render_asked_by(self, record: Command) -> str:
        """The person, else what did it."""
        return words.asker(_name(record.asked_by), record.origin)

    def value_asked_by(self, record: Command) -> str:
        """The same."""
        return words.asker(_name(record.asked_by), record.origin)


class CommandFilter(PortalFilterSet):
    """By words, state and kind."""

    search_fields = ("device__name", "device__serial", "reason", "device__facility__name")

    state = django_filters.ChoiceFilter(
        label=gettext_lazy("State"), choices=CommandState.choices, empty_label=gettext_lazy("All")
    )
    kind = django_filters.ChoiceFilter(
        label=gettext_lazy("Command"),
        choices=list(words.KINDS.items()),
        empty_label=gettext_lazy("All"),
    )


class BatchTable(PortalTable):
    """Requests for many devices; the counts of a page are found at once."""

    empty_icon = "stack-2"
    empty_title = gettext_lazy("No commands to many devices")
    empty_body = gettext_lazy("Choose devices in the list of devices and send them a command.")

    kind = columns.Column(verbose_name=gettext_lazy("Command"))
    devices = NumberColumn(verbose_name=gettext_lazy("Devices"))
    succeeded = NumberColumn(
        verbose_name=gettext_lazy("Succeeded"), empty_values=(), orderable=False
    )
    failed = NumberColumn(
        verbose_name=gettext_lazy("Failed or expired"), empty_values=(), orderable=False
    )
    waiting = NumberColumn(verbose_name=gettext_lazy("Open"), empty_values=(), orderable=False)
    asked_by = columns.Column(
        verbose_name=gettext_lazy("Asked by"), orderable=False, empty_values=(), attrs=ROOMY
    )
    asked_at = columns.DateTimeColumn(
        verbose_name=gettext_lazy("Asked"), format="SHORT_DATETIME_FORMAT", short=True
    )

    class Meta:
        order_by = ("-asked_at",)

    @cached_property
    def entries(self) -> dict[int, BatchEntry]:
        """The batches that are shown, with their counts."""
        rows = [row.record for row in self.paginated_rows]
        return {one.batch_id: one for one in batches_of(rows)}

    def render_kind(self, record: CommandBatch) -> str:
        """What it asks for, with the way to its page."""
        return format_html(
            '<a href="{}">{}</a>',
            reverse("command-batch", args=[record.pk]),
            words.summary(record.kind, record.arguments),
        )

    def value_kind(self, record: CommandBatch) -> str:
        """The same in words."""
        return words.summary(record.kind, record.arguments)

    def render_asked_by(self, record: CommandBatch) -> str:
        """The person, else what did it."""
        return words.asker(_name(record.asked_by), record.origin)

    def value_asked_by(self, record: CommandBatch) -> str:
        """The same."""
        return words.asker(_name(record.asked_by), record.origin)

    def render_succeeded(self, record: CommandBatch) -> str:
        """How many devices did it."""
        return number(self._count(record, "succeeded"))

    def value_succeeded(self, record: CommandBatch) -> int:
        """The number."""
        return self._count(record, "succeeded")

    def render_failed(self, record: CommandBatch) -> str:
        """How many did not."""
        return number(self._count(record, "failed", "expired"))

    def value_failed(self, record: CommandBatch) -> int:
        """The number."""
        return self._count(record, "failed", "expired")

    def render_waiting(self, record: CommandBatch) -> str:
        """How many have not come to an end."""
        return number(self.value_waiting(record))

    def value_waiting(self, record: CommandBatch) -> int:
        """The number."""
        return self._count(record, "awaiting_approval", "queued", "sent", "acknowledged")

    def _count(self, record: CommandBatch, *states: str) -> int:
        counts = self.entries[record.pk].counts
        return sum(counts.get(state, 0) for state in states)


def _name(user: Any) -> str:
    return "" if user is None else user.get_full_name() or user.email
