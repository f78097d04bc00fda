"""The shapes of releases and signing keys."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from firmware.domain import key_operations
from firmware.domain.release_checks import LONGEST_NOTES, LONGEST_RANGE
from firmware.models import ReleaseState
from portal.api import serializers as shapes


class ReleaseQuery(shapes.PageQuery):
    """Which releases."""

    device_type = serializers.CharField(
        required=False, max_length=64, help_text="Code of the device type."
    )
    state = serializers.ChoiceField(ReleaseState.choices, required=False)
    version = serializers.CharField(required=False, max_length=64)


class ReleaseBody(shapes.Body):
    """A release to upload, as multipart/form-data."""

    device_type = serializers.CharField(
        max_length=64, help_text="Code of a device type of the tenant, or of one that serves all."
    )
    image = serializers.FileField(allow_empty_file=True)
    signature = serializers.FileField(
        allow_empty_file=True, help_text="The file that sign_firmware writes (.sig.json)."
    )
    version = serializers.CharField(
        required=False, max_length=64, help_text="Without it, the one that was signed."
    )
    from_versions = serializers.CharField(
        required=False,
        max_length=LONGEST_RANGE,
        help_text="A range such as `>=1.2,<2`: over which versions it may be installed.",
    )
    notes = serializers.CharField(required=False, max_length=LONGEST_NOTES)


class ImageSerializer(serializers.Serializer[Any]):
    """What devices download."""

    sha256 = serializers.CharField(help_text="In hexadecimal.")
    size = serializers.IntegerField(help_text="Bytes.")
    header = serializers.JSONField(
        help_text="What it says about itself: `format` (mcuboot, swu, raw) and what that knows."
    )


class ReleaseSerializer(serializers.Serializer[Any]):
    """A version of the firmware of a device type."""

    id = serializers.IntegerField(source="pk")
    tenant = serializers.IntegerField(
        source="tenant_id", help_text="Of the caller's tenant or one above it."
    )
    device_type = serializers.CharField(source="type_code")
    version = serializers.CharField()
    hardware_revisions = serializers.ListField(
        child=serializers.CharField(), help_text="Empty: all."
    )
    from_versions = serializers.CharField(help_text="Empty: all.")
    notes = serializers.CharField()
    state = serializers.ChoiceField(ReleaseState.choices)
    image = ImageSerializer(source="artifact")
    signing_key = serializers.CharField(source="signing_key.key_id")
    manifest = serializers.SerializerMethodField(help_text="What was signed, in hexadecimal.")
    signature = serializers.SerializerMethodField(help_text="Ed25519, in hexadecimal.")
    created_at = serializers.DateTimeField()
    approved_at = serializers.DateTimeField(allow_null=True)
    retired_at = serializers.DateTimeField(allow_null=True)

    def get_manifest(self, row: Any) -> str:
        """The bytes that devices verify, without the prefix."""
        return bytes(row.manifest).hex()

    def get_signature(self, row: Any) -> str:
        """64 bytes."""
        return bytes(row.signature).hex()


class SigningKeyBody(shapes.Body):
    """A public key."""

    name = serializers.CharField(max_length=key_operations.LONGEST_NAME)
    public_key = serializers.CharField(
        max_length=2_000, trim_whitespace=False, help_text="Ed25519, in PEM."
    )


class SigningKeySerializer(serializers.Serializer[Any]):
    """A public key whose signatures are accepted, or were."""

    id = serializers.IntegerField(source="pk")
    tenant = serializers.IntegerField(source="tenant_id")
    name = serializers.CharField()
    key_id = serializers.CharField(help_text="The beginning of its SHA-256, in hexadecimal.")
    public_key = serializers.SerializerMethodField(help_text="32 bytes, in hexadecimal.")
    created_at = serializers.DateTimeField()
    retired_at = serializers.DateTimeField(allow_null=True)

    def get_public_key(self, row: Any) -> str:
        """RFC 8032, 5.1.5."""
        return bytes(row.public_key).hex()
