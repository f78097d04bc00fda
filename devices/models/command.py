"""Commands to devices, what happened to each, and who has to agree."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils.translation import gettext_lazy as _

from devices.commands.states import Origin, State
from devices.models.device import Device
from tenants.models import TenantOwned, TwoPersonsRule

REASON_LENGTH = 500


class CommandState(models.TextChoices):
    """Where a command is; the codes are those of `devices.commands.states.State`."""

    AWAITING_APPROVAL = State.AWAITING_APPROVAL.value, _("Awaiting approval")
    QUEUED = State.QUEUED.value, _("Queued")
    SENT = State.SENT.value, _("Sent")
    ACKNOWLEDGED = State.ACKNOWLEDGED.value, _("Acknowledged")
    SUCCEEDED = State.SUCCEEDED.value, _("Succeeded")
    FAILED = State.FAILED.value, _("Failed")
    EXPIRED = State.EXPIRED.value, _("Expired")
    CANCELLED = State.CANCELLED.value, _("Cancelled")


class CommandOrigin(models.TextChoices):
    """Who asked for a command."""

    PERSON = Origin.PERSON.value, _("A person")
    API = Origin.API.value, _("An application")
    BILLING = Origin.BILLING.value, _("A bill")
    RECONCILIATION = Origin.RECONCILIATION.value, _("Reconciliation")
    ROLLOUT = Origin.ROLLOUT.value, _("A roll-out")


class CommandPolicy(TwoPersonsRule):
    """Whether a tenant wants a second person for every switching off, whoever asks for it.

    It counts for the tenants below as well (`commands_policy.two_persons`).
    """

    two_persons = models.BooleanField(default=False)

    class Meta:
        ordering = ["tenant"]
        constraints = [
            models.UniqueConstraint(fields=["tenant"], name="devices_commandpolicy_once"),
            models.CheckConstraint(
                condition=models.Q(off_asked_by__isnull=True, off_asked_at__isnull=True)
                | models.Q(
                    two_persons=True, off_asked_by__isnull=False, off_asked_at__isnull=False
                ),
                name="devices_commandpolicy_off_asked",
            ),
        ]

    def __str__(self) -> str:
        return f"command policy of tenant {self.tenant_id}"


class CommandBatch(TenantOwned):
    """One request for the same command to many devices.

    `facilities` are those of all its devices, sorted: a scope narrowed to others does not see it.
    `refused` tells of devices that were asked for and cannot do it: code of the reason → ids; there
    are no commands for them.
    """

    kind = models.CharField(max_length=32)
    arguments = models.JSONField(default=dict)
    reason = models.CharField(max_length=REASON_LENGTH, blank=True)
    origin = models.CharField(max_length=16, choices=CommandOrigin, default=CommandOrigin.PERSON)
    asked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+"
    )
    asked_at = models.DateTimeField()
    facilities = ArrayField(models.BigIntegerField())
    devices = models.PositiveIntegerField(help_text="Devices that the command was made for.")
    refused = models.JSONField(default=dict)
    # What the asker calls the request, so that asking again asks once.
    request_key = models.CharField(max_length=120, blank=True, default="", db_default="")
    # A batch that tries the failed ones of another one again.
    retry_of = models.ForeignKey(
        "self", on_delete=models.PROTECT, null=True, related_name="retries"
    )

    class Meta:
        ordering = ["-pk"]
        constraints = [
            # Target of the composite foreign key that keeps commands in the tenant of their batch.
            models.UniqueConstraint(fields=["tenant", "id"], name="devices_commandbatch_tenant_id"),
            models.UniqueConstraint(
                fields=["tenant", "request_key"],
                condition=~models.Q(request_key=""),
                name="devices_commandbatch_request_once",
            ),
            models.CheckConstraint(
                condition=models.Q(facilities__len__gt=0), name="devices_commandbatch_somewhere"
            ),
        ]
        indexes = [models.Index(fields=["tenant", "-id"], name="devices_commandbatch_newest")]

    def __str__(self) -> str:
        return f"batch {self.pk}"


class Command(TenantOwned):
    """A command to a device: where it is now. How it came there is in its `CommandEvent` rows.

    `uid` is the id that the device knows it by and remembers: however often it is sent, it runs
    once. `arguments` are the entries of COMMAND. `subjects` is what it sets: a newer command that
    sets all of it ends an older one that was never sent. Commands of a device run in the order of
    `queued_at`, then of their ids.

    `lifetime_s` is how long it may wait from `queued_at` on; `expires_at` when that is over or,
    while it awaits approval, until when somebody may approve. `next_at` is when it is sent again
    (SENT), or given up for want of its last word (ACKNOWLEDGED). `connection` is the device's
    connection over which it was last sent. `answered_at` is when the device had said its last word
    about it: from then on nothing changes any more.
    """

    uid = models.UUIDField(default=uuid.uuid4)
    device = models.ForeignKey(Device, on_delete=models.PROTECT, related_name="commands")
    batch = models.ForeignKey(
        CommandBatch, on_delete=models.PROTECT, null=True, related_name="commands"
    )
    kind = models.CharField(max_length=32)
    arguments = models.JSONField(default=dict)
    subjects = ArrayField(models.CharField(max_length=32), default=list)
    reason = models.CharField(max_length=REASON_LENGTH, blank=True)
    origin = models.CharField(max_length=16, choices=CommandOrigin, default=CommandOrigin.PERSON)
    # Of a single command; see `CommandBatch`.
    request_key = models.CharField(max_length=120, blank=True, default="", db_default="")
    asked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+"
    )
    asked_at = models.DateTimeField()
    approved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+"
    )
    queued_at = models.DateTimeField(null=True)
    lifetime_s = models.PositiveIntegerField()
    expires_at = models.DateTimeField()
    state = models.CharField(max_length=18, choices=CommandState, default=CommandState.QUEUED)
    state_at = models.DateTimeField()
    cause = models.CharField(max_length=20, blank=True)
    detail = models.TextField(blank=True, help_text="What the device said.")
    attempts = models.PositiveSmallIntegerField(default=0)
    next_at = models.DateTimeField(null=True)
    connection = models.BigIntegerField(default=0)
    answered_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.UniqueConstraint(fields=["uid"], name="devices_command_uid_unique"),
            models.UniqueConstraint(
                fields=["tenant", "request_key"],
                condition=~models.Q(request_key=""),
                name="devices_command_request_once",
            ),
            # Target of the composite foreign key that keeps events with their command.
            models.UniqueConstraint(
                fields=["tenant", "device", "id"], name="devices_command_whole"
            ),
            models.UniqueConstraint(
                fields=["device"],
                condition=models.Q(state="sent"),
                name="devices_command_one_unanswered",
            ),
            models.CheckConstraint(
                condition=models.Q(state__in=CommandState.values),
                name="devices_command_state_known",
            ),
            models.CheckConstraint(
                condition=models.Q(origin__in=CommandOrigin.values),
                name="devices_command_origin_known",
            ),
            models.CheckConstraint(
                condition=~models.Q(state__in=["queued", "sent", "acknowledged"])
                | models.Q(queued_at__isnull=False),
                name="devices_command_queued_once",
            ),
        ]
        indexes = [
            models.Index(
                fields=["device", "queued_at", "id"],
                condition=models.Q(state__in=["queued", "sent"]),
                name="devices_command_due",
            ),
            models.Index(
                fields=["expires_at"],
                condition=models.Q(state__in=["awaiting_approval", "queued", "sent"]),
                name="devices_command_over",
            ),
            models.Index(
                fields=["next_at"],
                condition=models.Q(state="acknowledged"),
                name="devices_command_unfinished",
            ),
            models.Index(fields=["device", "-id"], name="devices_command_of_device"),
            models.Index(fields=["batch", "state"], name="devices_command_of_batch"),
            # Counted for every page of whoever approves.
            models.Index(
                fields=["tenant", "asked_at"],
                condition=models.Q(state="awaiting_approval"),
                name="devices_command_awaiting",
            ),
            models.Index(fields=["device", "kind", "-id"], name="devices_command_of_kind"),
            # An order that the primary key does not have: the planner cannot walk along that one
            # and hope to come across a state that is rare.
            models.Index(
                "tenant",
                "state",
                models.F("id").desc(nulls_last=True),
                name="devices_command_in_state",
            ),
            # A look of the dispatcher begins with what has moved and what has waited long enough.
            models.Index(fields=["state_at"], name="devices_command_moved"),
            models.Index(
                fields=["next_at"],
                condition=models.Q(state="sent"),
                name="devices_command_waiting",
            ),
            # Of a device that has a long history, what is still to come.
            models.Index(
                fields=["device"],
                condition=models.Q(
                    state__in=["awaiting_approval", "queued", "sent", "acknowledged"]
                ),
                name="devices_command_open",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.uid}"


class CommandEvent(TenantOwned):
    """A step in the history of a command; rows are only ever added.

    `step` and `cause` are codes of `devices.commands.states`, `state` is the command's after it.
    `attempt` counts the times it was sent. `connection` is the device's connection that the step
    went or came over, 0 for none.
    """

    command = models.ForeignKey(Command, on_delete=models.PROTECT, related_name="events")
    device = models.ForeignKey(Device, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField()
    step = models.CharField(max_length=16)
    state = models.CharField(max_length=18)
    cause = models.CharField(max_length=20, blank=True)
    attempt = models.PositiveSmallIntegerField(default=0)
    detail = models.TextField(blank=True)
    by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+"
    )
    connection = models.BigIntegerField(default=0)

    class Meta:
        ordering = ["pk"]
        indexes = [models.Index(fields=["command", "id"], name="devices_commandevent_of")]

    def __str__(self) -> str:
        return f"{self.step} of command {self.command_id}"
