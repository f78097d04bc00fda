"""What a tenant demands of commands and roll-outs, and what waits for the caller's approval."""

from __future__ import annotations

from typing import Any, Final

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from devices.domain.commands_policy import command_rule
from firmware.domain import approvals_queries, policy_operations, policy_queries
from firmware.domain.approvals_queries import Kind
from firmware.domain.policy_operations import MOST_BYTES_PER_S, MOST_DOWNLOADS, SAME, Change
from firmware.domain.rollout_operations import RolloutRefused
from portal.api import serializers as shapes
from portal.api.access import Requires, access_of, tenant_of
from portal.api.commands import actor_of, body_of, told
from portal.api.schema import problems
from portal.api.views import ApiView
from tenants.permissions import Permission

COMMANDS: Final = Requires((Permission.DEVICES_VIEW,), ("commands:read",))
COMMANDS_CHANGE: Final = Requires(
    (Permission.DEVICES_VIEW, Permission.TENANTS_CHANGE), ("commands:read", "policies:write")
)
FIRMWARE: Final = Requires((Permission.FIRMWARE_VIEW,), ("firmware:read",))
FIRMWARE_CHANGE: Final = Requires(
    (Permission.FIRMWARE_VIEW, Permission.TENANTS_CHANGE), ("firmware:read", "policies:write")
)


class OffAskedSerializer(serializers.Serializer[Any]):
    """Who has asked that the tenant's own rule of two persons be switched off."""

    by = serializers.CharField()
    at = serializers.DateTimeField()


class RuleSerializer(serializers.Serializer[Any]):
    """What all policies have in common."""

    off_asked = OffAskedSerializer(
        allow_null=True,
        help_text="Null unless somebody has asked to switch it off and nobody has agreed yet.",
    )


class CommandPolicySerializer(RuleSerializer):
    """Who has to agree that an output is switched off."""

    two_persons = serializers.BooleanField(
        source="own", help_text="The tenant wants two persons for every switching off."
    )
    two_persons_above = serializers.BooleanField(
        source="above", help_text="A tenant above it wants them."
    )
    two_persons_counts = serializers.BooleanField(
        source="counts", help_text="Either: else the role of who asks decides."
    )


class DemandsSerializer(serializers.Serializer[Any]):
    """What is demanded of roll-outs."""

    second_person = serializers.BooleanField(
        help_text="Somebody else than who made a roll-out approves it."
    )
    max_downloads = serializers.IntegerField(
        allow_null=True, help_text="At once, of all roll-outs together; null: no limit."
    )
    bytes_per_s = serializers.IntegerField(
        allow_null=True, help_text="Of all these downloads together; null: no limit."
    )


class FirmwarePolicySerializer(RuleSerializer):
    """What is demanded of the tenant's roll-outs: by itself, from above, and what counts."""

    own = DemandsSerializer()
    above = DemandsSerializer()
    counts = DemandsSerializer()


class CommandPolicyBody(shapes.Body):
    """What shall be different."""

    two_persons = serializers.BooleanField()


class FirmwarePolicyBody(shapes.Body):
    """What shall be different; what is not sent stays."""

    second_person = serializers.BooleanField(required=False)
    max_downloads = serializers.IntegerField(
        required=False, allow_null=True, min_value=1, max_value=MOST_DOWNLOADS
    )
    bytes_per_s = serializers.IntegerField(
        required=False, allow_null=True, min_value=1, max_value=MOST_BYTES_PER_S
    )


class WaitingSerializer(serializers.Serializer[Any]):
    """Something that waits for an approval."""

    kind = serializers.ChoiceField([kind.value for kind in Kind])
    subject = serializers.IntegerField(
        source="subject_id",
        help_text="The command, the batch, the release or the roll-out; of a rule the tenant.",
    )
    name = serializers.CharField(help_text="Of the device, the release or the roll-out.")
    asked_by = serializers.CharField(help_text="Empty for a service account and the system.")
    since = serializers.DateTimeField()
    until = serializers.DateTimeField(allow_null=True, help_text="Null: for ever.")
    reason = serializers.CharField()
    command = serializers.CharField(help_text="The kind of a command, else empty.")
    arguments = serializers.JSONField(help_text="Of a command, as they travel.")
    devices = serializers.IntegerField(help_text="How many a command is for.")


class ApprovalsSerializer(serializers.Serializer[Any]):
    """What waits for the caller, the oldest first."""

    results = WaitingSerializer(many=True, source="waiting")
    more = serializers.BooleanField(help_text="Of some kind only the oldest 100 are told.")


class PolicyView(ApiView):
    """Changes answer what counts then."""

    def change(self, request: Request, wanted: Change) -> None:
        """Change the policies of the caller's tenant."""
        with told():
            try:
                policy_operations.change(
                    actor=actor_of(request), tenant_id=_tenant_id(request), wanted=wanted
                )
            except RolloutRefused as error:
                raise ValidationError({error.field: [str(error)]}) from error


class CommandPolicy(PolicyView):
    """The policy of commands."""

    access = {"GET": COMMANDS, "PATCH": COMMANDS_CHANGE}

    @extend_schema(
        operation_id="policy_commands",
        tags=["Policies"],
        responses={200: CommandPolicySerializer, **problems(401, 403, 429)},
    )
    def get(self, request: Request) -> Response:
        """What the caller's tenant and those above it demand."""
        return _command_policy(request)

    @extend_schema(
        operation_id="policy_commands_change",
        tags=["Policies"],
        request=CommandPolicyBody,
        responses={200: CommandPolicySerializer, **problems(400, 401, 403, 429)},
    )
    def patch(self, request: Request) -> Response:
        """On counts at once. Off is asked for by the first person and done by the second who sends
        it; on takes the wish back.
        """
        given = body_of(CommandPolicyBody, request)
        self.change(request, Change(two_persons=given["two_persons"]))
        return _command_policy(request)


class FirmwarePolicy(PolicyView):
    """The policy of roll-outs."""

    access = {"GET": FIRMWARE, "PATCH": FIRMWARE_CHANGE}

    @extend_schema(
        operation_id="policy_firmware",
        tags=["Policies"],
        responses={200: FirmwarePolicySerializer, **problems(401, 403, 429)},
    )
    def get(self, request: Request) -> Response:
        """What the caller's tenant and those above it demand."""
        return _firmware_policy(request)

    @extend_schema(
        operation_id="policy_firmware_change",
        tags=["Policies"],
        request=FirmwarePolicyBody,
        responses={200: FirmwarePolicySerializer, **problems(400, 401, 403, 429)},
    )
    def patch(self, request: Request) -> Response:
        """Limits count at once, and are no wider than those above. `second_person` goes as
        `two_persons` of commands does.
        """
        given = body_of(FirmwarePolicyBody, request)
        if not given:
            raise ValidationError({"": ["Send what shall be different."]})
        wanted = Change(
            second_person=given.get("second_person", SAME),
            max_downloads=given.get("max_downloads", SAME),
            bytes_per_s=given.get("bytes_per_s", SAME),
        )
        self.change(request, wanted)
        return _firmware_policy(request)


class ApprovalList(ApiView):
    """What waits for the caller's approval."""

    access = {"GET": COMMANDS}

    @extend_schema(
        operation_id="approvals",
        tags=["Policies"],
        responses={200: ApprovalsSerializer, **problems(401, 403, 429)},
    )
    def get(self, request: Request) -> Response:
        """Of each kind that role and token may approve: commands and batches (`commands:write`),
        releases (`firmware:write`), roll-outs and waves (`rollouts:write`), rules
        (`policies:write`). Nothing that the caller has asked for, and nothing for a service
        account.
        """
        found = approvals_queries.approvals(actor_of(request), tenant_id=_tenant_id(request))
        return Response(ApprovalsSerializer(found).data)


def _command_policy(request: Request) -> Response:
    found = command_rule(tenant_id=_tenant_id(request))
    return Response(CommandPolicySerializer(found).data)


def _firmware_policy(request: Request) -> Response:
    found = policy_queries.firmware_rule(tenant_id=_tenant_id(request))
    return Response(FirmwarePolicySerializer(found).data)


def _tenant_id(request: Request) -> int:
    access = access_of(request)
    assert access is not None, "the declared access lets nobody in without"
    return tenant_of(access)
