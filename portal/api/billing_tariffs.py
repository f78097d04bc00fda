"""Tariffs, their versions and series of prices over the REST API."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from billing.domain import tariffs_imports
from billing.domain import tariffs_operations as operations
from billing.domain import tariffs_queries as queries
from billing.domain.preview_queries import preview
from portal.api import billing_bills_shapes as bills
from portal.api import billing_tariffs_shapes as forms
from portal.api.billing import (
    TARIFFS,
    TARIFFS_CHANGE,
    TARIFFS_PREVIEW,
    BillingView,
    tenant_id_of,
)
from portal.api.billing import told as _told
from portal.api.commands import body_of
from portal.api.schema import list_of, problems

told = partial(_told, source="text")


class TariffList(BillingView):
    """The tariffs of the caller's tenant."""

    access = {"GET": TARIFFS, "POST": TARIFFS_CHANGE}

    @extend_schema(
        operation_id="tariffs",
        tags=["Tariffs"],
        parameters=[forms.TariffQuery],
        responses={200: list_of(forms.TariffSerializer), **problems(400, 401, 403, 429)},
    )
    def get(self, request: Request) -> Response:
        """Tariffs concern the organisation as a whole: an access to some facilities sees none."""
        wanted = self.parameters(forms.TariffQuery, request)
        return self.page(request, queries.tariff_page(**wanted), forms.TariffSerializer)

    @extend_schema(
        operation_id="tariffs_create",
        tags=["Tariffs"],
        request=forms.NewTariffBody,
        responses={201: forms.TariffSerializer, **problems(400, 401, 403, 429)},
    )
    def post(self, request: Request) -> Response:
        """A new tariff, still without prices: add a version and publish it."""
        values = body_of(forms.NewTariffBody, request)
        with told():
            made = operations.create_tariff(
                tenant_id=tenant_id_of(request), actor_id=request.user.pk, **values
            )
        return Response(forms.TariffSerializer(made).data, status=201)


class TariffImport(BillingView):
    """Published tariffs taken in."""

    access = {"POST": TARIFFS_CHANGE}

    @extend_schema(
        operation_id="tariffs_import",
        tags=["Tariffs"],
        request=forms.TariffImportBody,
        responses={201: forms.TariffImportSerializer, **problems(400, 401, 403, 429)},
    )
    def post(self, request: Request) -> Response:
        """A record of OpenEI's URDB, of open-energy-tariffs, or of an Australian retailer or
        network, found out by itself: as a new tariff with a draft for each version. What cannot be
        expressed is refused, by its path.
        """
        values = dict(body_of(forms.TariffImportBody, request))
        name, valid_from = values.pop("name"), values.pop("valid_from")
        content = values.pop("record")
        with _told(content="record", source="record"):
            taken = tariffs_imports.import_tariff(
                tenant_id=tenant_id_of(request),
                content=content,
                wishes=forms.wishes_of(values),
                name=name,
                valid_from=valid_from,
                actor_id=request.user.pk,
            )
        return Response(forms.TariffImportSerializer(taken).data, status=201)


class TariffOne(BillingView):
    """A tariff."""

    access = {"GET": TARIFFS, "PUT": TARIFFS_CHANGE}

    @extend_schema(
        operation_id="tariff",
        tags=["Tariffs"],
        responses={200: forms.TariffSerializer, **problems(401, 403, 404, 429)},
    )
    def get(self, request: Request, pk: int) -> Response:
        """Its versions have the prices."""
        del request
        return Response(forms.TariffSerializer(queries.tariff(tariff_id=pk)).data)

    @extend_schema(
        operation_id="tariffs_change",
        tags=["Tariffs"],
        request=forms.TariffBody,
        responses={200: forms.TariffSerializer, **problems(400, 401, 403, 404, 429)},
    )
    def put(self, request: Request, pk: int) -> Response:
        """Another name or description; bills keep what they were made with."""
        values = body_of(forms.TariffBody, request)
        with told():
            made = operations.change_tariff(tariff_id=pk, actor_id=request.user.pk, **values)
        return Response(forms.TariffSerializer(made).data)


class TariffArchive(BillingView):
    """The end of a tariff for new agreements."""

    access = {"POST": TARIFFS_CHANGE}

    @extend_schema(
        operation_id="tariffs_archive",
        tags=["Tariffs"],
        request=None,
        responses={200: forms.TariffSerializer, **problems(400, 401, 403, 404, 429)},
    )
    def post(self, request: Request, pk: int) -> Response:
        """No new agreement may choose it; the ones that have it keep it."""
        with told():
            made = operations.archive_tariff(
                tariff_id=pk, now=datetime.now(UTC), actor_id=request.user.pk
            )
        return Response(forms.TariffSerializer(made).data)


class TariffRestore(BillingView):
    """An archived tariff brought back."""

    access = {"POST": TARIFFS_CHANGE}

    @extend_schema(
        operation_id="tariffs_restore",
        tags=["Tariffs"],
        request=None,
        responses={200: forms.TariffSerializer, **problems(400, 401, 403, 404, 429)},
    )
    def post(self, request: Request, pk: int) -> Response:
        """New agreements may choose it again."""
        with told():
            made = operations.restore_tariff(tariff_id=pk, actor_id=request.user.pk)
        return Response(forms.TariffSerializer(made).data)


class VersionList(BillingView):
    """The versions of a tariff."""

    access = {"GET": TARIFFS, "POST": TARIFFS_CHANGE}

    @extend_schema(
        operation_id="tariff_versions",
        tags=["Tariffs"],
        parameters=[forms.VersionQuery],
        responses={
            200: list_of(forms.ListedVersionSerializer),
            **problems(400, 401, 403, 404, 429),
        },
    )
    def get(self, request: Request, pk: int) -> Response:
        """Without what they say, drafts too."""
        wanted = self.parameters(forms.VersionQuery, request)
        found = queries.version_page(tariff_id=pk, **wanted)
        return self.page(request, found, forms.ListedVersionSerializer)

    @extend_schema(
        operation_id="tariff_versions_draft",
        tags=["Tariffs"],
        request=forms.TariffVersionBody,
        responses={201: forms.TariffVersionSerializer, **problems(400, 401, 403, 404, 429)},
    )
    def post(self, request: Request, pk: int) -> Response:
        """A draft. What is no tariff is refused with every problem named by its path."""
        values = body_of(forms.TariffVersionBody, request)
        with told():
            made = operations.draft_version(
                tariff_id=pk,
                valid_from=values["valid_from"],
                source=values["text"],
                reason=values["reason"],
                actor_id=request.user.pk,
            )
        return Response(forms.TariffVersionSerializer(made).data, status=201)


class VersionOne(BillingView):
    """A version of a tariff."""

    access = {"GET": TARIFFS, "PUT": TARIFFS_CHANGE, "DELETE": TARIFFS_CHANGE}

    @extend_schema(
        operation_id="tariff_version",
        tags=["Tariffs"],
        responses={200: forms.TariffVersionSerializer, **problems(401, 403, 404, 429)},
    )
    def get(self, request: Request, pk: int) -> Response:
        """With its text and document."""
        del request
        return Response(forms.TariffVersionSerializer(queries.version(version_id=pk)).data)

    @extend_schema(
        operation_id="tariff_versions_change",
        tags=["Tariffs"],
        request=forms.TariffVersionBody,
        responses={200: forms.TariffVersionSerializer, **problems(400, 401, 403, 404, 429)},
    )
    def put(self, request: Request, pk: int) -> Response:
        """Write a draft anew; a published version stays as it is."""
        values = body_of(forms.TariffVersionBody, request)
        with told():
            made = operations.change_draft(
                version_id=pk,
                valid_from=values["valid_from"],
                source=values["text"],
                reason=values["reason"],
                actor_id=request.user.pk,
            )
        return Response(forms.TariffVersionSerializer(made).data)

    @extend_schema(
        operation_id="tariff_versions_delete",
        tags=["Tariffs"],
        responses={204: None, **problems(400, 401, 403, 404, 429)},
    )
    def delete(self, request: Request, pk: int) -> Response:
        """A draft; a published version stays."""
        with told():
            operations.delete_draft(version_id=pk, actor_id=request.user.pk)
        return Response(status=204)


class VersionPublish(BillingView):
    """The publication of a version."""

    access = {"POST": TARIFFS_CHANGE}

    @extend_schema(
        operation_id="tariff_versions_publish",
        tags=["Tariffs"],
        request=None,
        responses={200: forms.TariffVersionSerializer, **problems(400, 401, 403, 404, 429)},
    )
    def post(self, request: Request, pk: int) -> Response:
        """Final from then on. Refused, with the instant named, where it leaves one without a price
        or with two; and without a reason where it changes the past.
        """
        with told():
            made = operations.publish_version(
                version_id=pk, now=datetime.now(UTC), actor_id=request.user.pk
            )
        return Response(forms.TariffVersionSerializer(made).data)


class VersionDuplicate(BillingView):
    """A copy of a version."""

    access = {"POST": TARIFFS_CHANGE}

    @extend_schema(
        operation_id="tariff_versions_duplicate",
        tags=["Tariffs"],
        request=forms.DuplicateVersionBody,
        responses={201: forms.TariffVersionSerializer, **problems(400, 401, 403, 404, 429)},
    )
    def post(self, request: Request, pk: int) -> Response:
        """A draft that says the same from another day on."""
        values = body_of(forms.DuplicateVersionBody, request)
        with told():
            made = operations.duplicate_version(
                version_id=pk, valid_from=values["valid_from"], actor_id=request.user.pk
            )
        return Response(forms.TariffVersionSerializer(made).data, status=201)


class VersionCheck(BillingView):
    """What would keep a version from being published."""

    access = {"GET": TARIFFS}

    @extend_schema(
        operation_id="tariff_versions_check",
        tags=["Tariffs"],
        responses={200: forms.CheckedTariffSerializer, **problems(401, 403, 404, 429)},
    )
    def get(self, request: Request, pk: int) -> Response:
        """It is tried over the years to come in the calendar of each facility."""
        del request
        found = queries.check_version(version_id=pk, now=datetime.now(UTC))
        return Response(forms.CheckedTariffSerializer(found).data)


class TariffCheck(BillingView):
    """What is wrong with a tariff that nobody has kept."""

    access = {"POST": TARIFFS}

    @extend_schema(
        operation_id="tariffs_check",
        tags=["Tariffs"],
        request=forms.CheckTariffBody,
        responses={200: forms.CheckedTariffSerializer, **problems(400, 401, 403, 429)},
    )
    def post(self, request: Request) -> Response:
        """Nothing is written. `problems` is empty where all is well."""
        values = body_of(forms.CheckTariffBody, request)
        found = queries.check_source(
            tenant_id=tenant_id_of(request),
            source=values["text"],
            valid_from=values["valid_from"],
            currency=values.get("currency"),
            now=datetime.now(UTC),
        )
        return Response(forms.CheckedTariffSerializer(found).data)


class TariffPreview(BillingView):
    """What a tariff would have cost."""

    access = {"POST": TARIFFS_PREVIEW}

    @extend_schema(
        operation_id="tariffs_preview",
        tags=["Tariffs"],
        request=bills.TariffPreviewBody,
        responses={200: bills.TariffPreviewSerializer, **problems(400, 401, 403, 404, 429)},
    )
    def post(self, request: Request) -> Response:
        """Rated over what an agreement has used, beside what it costs; nothing is written."""
        values = body_of(bills.TariffPreviewBody, request)
        with told():
            found = preview(
                values["text"],
                agreement_id=values["agreement_id"],
                first=values["first_on"],
                end=values["end_on"],
                now=datetime.now(UTC),
            )
        if found.draft.rating is None:
            raise ValidationError({"text": [found.draft.problem]})
        return Response(bills.TariffPreviewSerializer(found).data)
