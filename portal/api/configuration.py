"""Settings of a device over the REST API."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from devices.commands.states import Origin
from devices.domain import configuration_entries as entries
from devices.domain import configuration_queries as queries
from devices.models import Drift
from devices.models.command import REASON_LENGTH
from portal.api import serializers as shapes
from portal.api.access import Requires
from portal.api.commands import CommandView, actor_of, body_of, told
from portal.api.schema import problems
from portal.api.views import DEVICES
from tenants.permissions import Permission

CONFIGURING: Final = Requires(
    (Permission.DEVICES_VIEW, Permission.DEVICES_CONTROL), ("devices:read", "commands:write")
)
_SETTINGS: Final = "Settings by key (section 11.1 of the device protocol)."


class SettingsBody(shapes.Body):
    """Settings that are to change."""

    settings = serializers.JSONField(
        help_text=f"{_SETTINGS} Null: nothing is wanted of this one any more."
    )
    reason = serializers.CharField(
        required=False, default="", allow_blank=True, max_length=REASON_LENGTH
    )

    def validate_settings(self, value: Any) -> Mapping[str, Any]:
        """An object."""
        if not isinstance(value, dict):
            raise serializers.ValidationError("Send a JSON object.")
        return value


class SettingsChangeSerializer(serializers.Serializer[Any]):
    """A change of what is wanted."""

    version = serializers.IntegerField()
    changed_at = serializers.DateTimeField()
    author = serializers.CharField(help_text="Empty for a service account.")
    origin = serializers.CharField()
    reason = serializers.CharField()
    before = serializers.JSONField()
    after = serializers.JSONField()


class SettingsSerializer(serializers.Serializer[Any]):
    """The settings of a device: as wanted, and as it says."""

    device = serializers.IntegerField(source="device.pk")
    version = serializers.IntegerField(help_text="Rises with each change of `desired`.")
    desired = serializers.JSONField(help_text=f"{_SETTINGS} What is missing, nobody wants.")
    desired_at = serializers.DateTimeField(allow_null=True)
    reported = serializers.DictField(allow_null=True, help_text="Null: it has never said.")
    reported_at = serializers.DateTimeField(allow_null=True)
    different = serializers.ListField(
        child=serializers.CharField(), help_text="The keys in which it is not as wanted."
    )
    pending = serializers.SerializerMethodField(help_text="Keys that a command is about to set.")
    drift = serializers.ChoiceField(
        Drift.choices, allow_blank=True, help_text="Why a difference is left as it is."
    )
    drift_detail = serializers.CharField()
    next_at = serializers.DateTimeField(
        allow_null=True, help_text="When a difference is looked at again."
    )
    changes = SettingsChangeSerializer(many=True, help_text="The newest first.")

    def get_pending(self, of: queries.Settings) -> list[str]:
        """In order."""
        return sorted(of.pending)


class DeviceConfigurationOne(CommandView):
    """The settings of a device."""

    access = {"GET": DEVICES, "PATCH": CONFIGURING}

    @extend_schema(
        operation_id="device_configuration",
        tags=["Devices"],
        responses={200: SettingsSerializer, **problems(401, 403, 404, 429)},
    )
    def get(self, request: Request, pk: int) -> Response:
        """As wanted, as the device says, and how they came about."""
        del request
        return Response(SettingsSerializer(queries.settings_of(device_id=pk)).data)

    @extend_schema(
        operation_id="device_configuration_change",
        tags=["Devices"],
        request=SettingsBody,
        responses={200: SettingsSerializer, **problems(400, 401, 403, 404, 429)},
    )
    def patch(self, request: Request, pk: int) -> Response:
        """The device is told by commands; one that is not active yet, when it is."""
        values = body_of(SettingsBody, request)
        with told():
            found = entries.configure_entry(
                actor_of(request),
                device_id=pk,
                changes=values["settings"],
                reason=values["reason"],
                origin=Origin.PERSON if request.auth is None else Origin.API,
                now=datetime.now(UTC),
            )
        return Response(SettingsSerializer(found).data)
