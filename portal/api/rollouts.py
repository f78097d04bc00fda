"""Roll-outs over the REST API: drafts, dry run, steps, devices, and the updates of a device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final

from drf_spectacular.utils import extend_schema
from rest_framework.exceptions import NotFound, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from devices.domain.queries import DeviceNotFound
from firmware.domain import rollout_operations, rollout_pages, rollout_queries
from firmware.domain.rollout_operations import Draft, RolloutNotFound, RolloutRefused
from firmware.domain.rollout_plan import Plan
from firmware.models import Rollout
from portal.api import rollouts_shapes as forms
from portal.api import serializers as shapes
from portal.api.access import Requires, access_of, tenant_of
from portal.api.commands import body_of
from portal.api.schema import list_of, problems
from portal.api.views import ApiView, next_of
from tenants.permissions import Permission

SEEING: Final = Requires((Permission.FIRMWARE_VIEW,), ("firmware:read",))
CHANGING: Final = Requires(
    (Permission.FIRMWARE_VIEW, Permission.ROLLOUTS_CHANGE), ("firmware:read", "rollouts:write")
)
APPROVING: Final = Requires(
    (Permission.FIRMWARE_VIEW, Permission.ROLLOUTS_APPROVE), ("firmware:read", "rollouts:write")
)
_NUMBERS: Final = ("getting", "waves", "reasons", "bytes", "deltas", "held")
_TARGETS: Final = list_of(forms.RolloutTargetSerializer)
_DONE: Final[dict[Any, Any]] = {200: forms.RolloutSerializer, **problems(400, 401, 403, 404, 429)}


class RolloutView(ApiView):
    """What does not exist is 404."""

    def handle_exception(self, exc: Exception) -> Response:
        """Roll-outs and devices beyond the scope."""
        if isinstance(exc, RolloutNotFound | DeviceNotFound):
            exc = NotFound()
        return super().handle_exception(exc)

    def plan(self, request: Request, found: Plan) -> Response:
        """A dry run in numbers, with a page of its devices."""
        page = found.page(**self.parameters(forms.PlanQuery, request))
        numbers = {name: getattr(found, name) for name in _NUMBERS}
        told = {**numbers, "devices": page.items, **next_of(request, page)}
        return Response(forms.PlanSerializer(told).data)


@contextmanager
def _told() -> Iterator[None]:
    """What the domain refuses, at the member that it concerns."""
    try:
        yield
    except RolloutRefused as error:
        raise ValidationError({error.field: [str(error)]}) from error


def _tenant_id(request: Request) -> int:
    access = access_of(request)
    assert access is not None, "the declared access lets nobody in without"
    return tenant_of(access)


def _draft(request: Request) -> Draft:
    given = body_of(forms.RolloutBody, request)
    return Draft(
        name=given["name"],
        release_id=given["release"],
        selection=given["selection"],
        strategy=given["strategy"],
        priority=given["priority"],
    )


class RolloutList(RolloutView):
    """The roll-outs of the tenant, by id."""

    access = {"GET": SEEING, "POST": CHANGING}

    @extend_schema(
        operation_id="rollouts",
        tags=["Roll-outs"],
        parameters=[forms.RolloutQuery],
        responses={200: list_of(forms.RolloutSerializer), **problems(400, 401, 403, 429)},
    )
    def get(self, request: Request) -> Response:
        """A page of roll-outs."""
        wanted = self.parameters(forms.RolloutQuery, request)
        return self.page(request, rollout_queries.rollout_page(**wanted), forms.RolloutSerializer)

    @extend_schema(
        operation_id="rollouts_draft",
        tags=["Roll-outs"],
        request=forms.RolloutBody,
        responses={201: forms.RolloutSerializer, **problems(400, 401, 403, 429)},
    )
    def post(self, request: Request) -> Response:
        """A draft: nothing is sent before it is started."""
        with _told():
            made = rollout_operations.create(
                tenant_id=_tenant_id(request), draft=_draft(request), actor_id=request.user.pk
            )
        return Response(_shown(made), status=201)


def _shown(made: Rollout) -> Any:
    """A roll-out with its counts."""
    return forms.RolloutSerializer(rollout_queries.rollout(rollout_id=made.pk)).data


class RolloutPreview(RolloutView):
    """The dry run of what is not kept."""

    access = {"POST": CHANGING}

    @extend_schema(
        operation_id="rollouts_preview",
        tags=["Roll-outs"],
        parameters=[forms.PlanQuery],
        request=forms.PlanBody,
        responses={200: forms.PlanSerializer, **problems(400, 401, 403, 429)},
    )
    def post(self, request: Request) -> Response:
        """Which device would get what, in which wave, and why the others not."""
        given = body_of(forms.PlanBody, request)
        with _told():
            found = rollout_pages.preview(
                tenant_id=_tenant_id(request),
                release_id=given["release"],
                selection=given["selection"],
                strategy=given["strategy"],
            )
        return self.plan(request, found)


class RolloutOne(RolloutView):
    """A roll-out."""

    access = {"GET": SEEING, "PUT": CHANGING, "DELETE": CHANGING}

    @extend_schema(
        operation_id="rollout",
        tags=["Roll-outs"],
        responses={200: forms.SummarySerializer, **problems(401, 403, 404, 429)},
    )
    def get(self, request: Request, pk: int) -> Response:
        """How it stands: waves, states, failures by kind, speed, what the gate said."""
        del request
        found = rollout_queries.summary(rollout_id=pk, now=datetime.now(UTC))
        return Response(forms.SummarySerializer(found).data)

    @extend_schema(
        operation_id="rollout_change",
        tags=["Roll-outs"],
        request=forms.RolloutBody,
        responses=_DONE,
    )
    def put(self, request: Request, pk: int) -> Response:
        """A draft as a whole; an approval that it had is gone."""
        with _told():
            made = rollout_operations.change(
                rollout_id=pk, draft=_draft(request), actor_id=request.user.pk
            )
        return Response(_shown(made))

    @extend_schema(
        operation_id="rollout_delete",
        tags=["Roll-outs"],
        responses={204: None, **problems(400, 401, 403, 404, 429)},
    )
    def delete(self, request: Request, pk: int) -> Response:
        """A draft; what has begun is aborted instead."""
        with _told():
            rollout_operations.remove(rollout_id=pk, actor_id=request.user.pk)
        return Response(status=204)


class RolloutPlan(RolloutView):
    """The dry run of a draft."""

    access = {"GET": SEEING}

    @extend_schema(
        operation_id="rollout_plan",
        tags=["Roll-outs"],
        parameters=[forms.PlanQuery],
        responses={200: forms.PlanSerializer, **problems(400, 401, 403, 404, 429)},
    )
    def get(self, request: Request, pk: int) -> Response:
        """Exactly what a start would do now."""
        found = rollout_pages.before(rollout_id=pk, code="start", now=datetime.now(UTC))
        if found.plan is None:
            raise ValidationError({"": ["It has begun: ask for its devices."]})
        return self.plan(request, found.plan)


class RolloutStart(RolloutView):
    """The start of a draft."""

    access = {"POST": CHANGING}

    @extend_schema(operation_id="rollout_start", tags=["Roll-outs"], request=None, responses=_DONE)
    def post(self, request: Request, pk: int) -> Response:
        """The plan becomes its waves and devices; the first wave begins."""
        with _told():
            made = rollout_operations.start(
                rollout_id=pk, now=datetime.now(UTC), actor_id=request.user.pk
            )
        return Response(_shown(made))


class RolloutResume(RolloutView):
    """The end of a pause."""

    access = {"POST": CHANGING}

    @extend_schema(operation_id="rollout_resume", tags=["Roll-outs"], request=None, responses=_DONE)
    def post(self, request: Request, pk: int) -> Response:
        """Go on; failures until now do not stop it again."""
        with _told():
            made = rollout_operations.resume(rollout_id=pk, actor_id=request.user.pk)
        return Response(_shown(made))


class RolloutApprove(RolloutView):
    """An approval."""

    access = {"POST": APPROVING}

    @extend_schema(
        operation_id="rollout_approve", tags=["Roll-outs"], request=None, responses=_DONE
    )
    def post(self, request: Request, pk: int) -> Response:
        """Approve a draft, or let the next wave begin."""
        with _told():
            made = rollout_operations.approve(
                rollout_id=pk, now=datetime.now(UTC), actor_id=request.user.pk
            )
        return Response(_shown(made))


class RolloutRollBack(RolloutView):
    """The way back."""

    access = {"POST": CHANGING}

    @extend_schema(
        operation_id="rollout_roll_back", tags=["Roll-outs"], request=None, responses=_DONE
    )
    def post(self, request: Request, pk: int) -> Response:
        """Give updated devices back what they ran, by a roll-out of its own, which is answered."""
        with _told():
            made = rollout_operations.roll_back(
                rollout_id=pk, now=datetime.now(UTC), actor_id=request.user.pk
            )
        return Response(_shown(made))


class RolloutPause(RolloutView):
    """A pause."""

    access = {"POST": CHANGING}

    @extend_schema(
        operation_id="rollout_pause", tags=["Roll-outs"], request=forms.NoteBody, responses=_DONE
    )
    def post(self, request: Request, pk: int) -> Response:
        """Offer nothing more; what is under way goes on to its end."""
        note = body_of(forms.NoteBody, request)["note"]
        with _told():
            made = rollout_operations.pause(rollout_id=pk, note=note, actor_id=request.user.pk)
        return Response(_shown(made))


class RolloutAbort(RolloutView):
    """An early end."""

    access = {"POST": CHANGING}

    @extend_schema(
        operation_id="rollout_abort", tags=["Roll-outs"], request=forms.NoteBody, responses=_DONE
    )
    def post(self, request: Request, pk: int) -> Response:
        """What is not installed yet is withdrawn; devices that install are waited for."""
        note = body_of(forms.NoteBody, request)["note"]
        with _told():
            made = rollout_operations.abort(rollout_id=pk, note=note, actor_id=request.user.pk)
        return Response(_shown(made))


class RolloutAdvance(RolloutView):
    """The next wave in spite of this one."""

    access = {"POST": APPROVING}

    @extend_schema(
        operation_id="rollout_advance", tags=["Roll-outs"], request=forms.NoteBody, responses=_DONE
    )
    def post(self, request: Request, pk: int) -> Response:
        """Begin the next wave whatever became of this one; `note` says why."""
        note = body_of(forms.NoteBody, request)["note"]
        with _told():
            made = rollout_operations.advance_anyway(
                rollout_id=pk, note=note, now=datetime.now(UTC), actor_id=request.user.pk
            )
        return Response(_shown(made))


class RolloutRetry(RolloutView):
    """Another try for failed devices."""

    access = {"POST": CHANGING}

    @extend_schema(
        operation_id="rollout_retry",
        tags=["Roll-outs"],
        request=forms.RetryBody,
        responses={200: forms.RetriedSerializer, **problems(400, 401, 403, 404, 429)},
    )
    def post(self, request: Request, pk: int) -> Response:
        """As many attempts as at first; a completed roll-out goes on with them."""
        codes = body_of(forms.RetryBody, request)["codes"]
        with _told():
            count = rollout_operations.retry_failed(
                rollout_id=pk, codes=codes, now=datetime.now(UTC), actor_id=request.user.pk
            )
        return Response({"devices": count})


class RolloutTargets(RolloutView):
    """The devices of a roll-out."""

    access = {"GET": SEEING}

    @extend_schema(
        operation_id="rollout_targets",
        tags=["Roll-outs"],
        parameters=[forms.TargetQuery],
        responses={
            200: _TARGETS,
            **problems(400, 401, 403, 404, 429),
        },
    )
    def get(self, request: Request, pk: int) -> Response:
        """A page of devices, how far each has come, and why it failed."""
        wanted = self.parameters(forms.TargetQuery, request)
        found = rollout_pages.target_page(rollout_id=pk, **wanted)
        return self.page(request, found, forms.RolloutTargetSerializer)


class DeviceUpdates(RolloutView):
    """The updates of a device."""

    access = {"GET": SEEING}

    @extend_schema(
        operation_id="device_updates",
        tags=["Roll-outs"],
        parameters=[shapes.PageQuery],
        responses={
            200: _TARGETS,
            **problems(400, 401, 403, 404, 429),
        },
    )
    def get(self, request: Request, pk: int) -> Response:
        """A page of its updates in their order."""
        wanted = self.parameters(shapes.PageQuery, request)
        found = rollout_pages.update_page(device_id=pk, **wanted)
        return self.page(request, found, forms.RolloutTargetSerializer)
