"""Lists of releases and signing keys."""

from __future__ import annotations

import django_filters
import django_tables2 as columns
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from firmware.models import Release, ReleaseState, SigningKey
from portal.enterprise.registry.tables import ROOMY
from portal.frame.filters import PortalFilterSet
from portal.frame.tables import BadgeColumn, NumberColumn, PortalTable

TONES = {"approved": "good", "draft": "warn", "retired": ""}


class ReleaseTable(PortalTable):
    """Releases, the newest version of each type first."""

    empty_icon = "upload"
    empty_title = gettext_lazy("No releases")
    empty_body = gettext_lazy(
        "Upload a signed image; another person approves it before it can be rolled out."
    )

    version = columns.Column(
        verbose_name=gettext_lazy("Version"), order_by=("version_key",), empty_values=()
    )
    type_code = columns.Column(verbose_name=gettext_lazy("Device type"))
    state = BadgeColumn(
        verbose_name=gettext_lazy("State"), labels=dict(ReleaseState.choices), tones=TONES
    )
    hardware_revisions = columns.Column(
        verbose_name=gettext_lazy("Hardware revisions"), orderable=False, attrs=ROOMY
    )
    size = NumberColumn(verbose_name=gettext_lazy("Bytes"), accessor="artifact__size", attrs=ROOMY)
    created_at = columns.DateTimeColumn(
        verbose_name=gettext_lazy("Uploaded"), format="SHORT_DATETIME_FORMAT", short=True
    )

    class Meta:
        order_by = ("type_code", "-version")

    def render_version(self, value: str, record: Release) -> str:
        """The way to its page."""
        return format_html('<a href="{}">{}</a>', reverse("release", args=[record.pk]), value)

    def value_version(self, value: str) -> str:
        """The version alone."""
        return value

    def render_hardware_revisions(self, value: list[str]) -> str:
        """In one line; none are all."""
        return ", ".join(value) or _("all revisions")


class ReleaseFilter(PortalFilterSet):
    """By words and state."""

    search_fields = ("version", "type_code")

    state = django_filters.ChoiceFilter(
        label=gettext_lazy("State"), choices=ReleaseState.choices, empty_label=gettext_lazy("All")
    )


class KeyTable(PortalTable):
    """Signing keys."""

    empty_icon = "key"
    empty_title = gettext_lazy("No signing keys")
    empty_body = gettext_lazy(
        "Make a key with sign_firmware --new-key and upload its public half: releases that it has"
        " signed are then accepted."
    )

    name = columns.Column(verbose_name=gettext_lazy("Name"))
    key_id = columns.Column(verbose_name=gettext_lazy("Key"), attrs={"td": {"class": "wl-mono"}})
    retired_at = columns.DateTimeColumn(
        verbose_name=gettext_lazy("Retired"), format="SHORT_DATETIME_FORMAT", short=True
    )
    release_count = NumberColumn(verbose_name=gettext_lazy("Releases"), orderable=False)
    created_at = columns.DateTimeColumn(
        verbose_name=gettext_lazy("Added"), format="SHORT_DATETIME_FORMAT", short=True
    )
    change = columns.TemplateColumn(
        verbose_name=gettext_lazy("Change"),
        template_name="enterprise/firmware/key_change.html",
        orderable=False,
        exclude_from_export=True,
    )

    class Meta:
        order_by = ("retired_at", "name")

    def __init__(self, *args: object, may_change: bool = False, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.may_change = may_change

    def render_key_id(self, value: str, record: SigningKey) -> str:
        """The beginning of its SHA-256."""
        del record
        return value
