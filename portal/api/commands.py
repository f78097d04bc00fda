"""Commands to devices over the REST API: asked, watched, approved, refused, cancelled."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, Final, Protocol, TypeVar

from django.core.exceptions import NON_FIELD_ERRORS
from django.core.exceptions import ValidationError as Refused
from drf_spectacular.utils import extend_schema, extend_schema_view
from rest_framework import serializers
from rest_framework.exceptions import NotFound, PermissionDenied, ValidationError
from rest_framework.request import Request
from rest_framework.response import Response

from devices.commands.kinds import LEAST_LIFETIME_S, MOST_LIFETIME_S, Kind
from devices.commands.states import Origin, State
from devices.domain import commands_entries as entries
from devices.domain import commands_queries as queries
from devices.domain.commands_decisions import CommandNotFound
from devices.domain.commands_operations import BatchNotFound
from devices.domain.commands_policy import Actor, NotAllowedError
from devices.domain.commands_targets import DevicesNotFound
from devices.domain.selection import MAX_NAMED, SelectionRefused
from devices.models.command import REASON_LENGTH
from portal.api import serializers as shapes
from portal.api.access import Requires, access_of
from portal.api.schema import list_of, problems
from portal.api.views import ApiView
from portal.oauth.bearer import Bearer
from tenants.permissions import Permission

READING: Final = Requires((Permission.DEVICES_VIEW,), ("commands:read",))
ASKING: Final = Requires((Permission.DEVICES_CONTROL,), ("commands:write",))
APPROVING: Final = Requires((Permission.DEVICES_APPROVE,), ("commands:write",))
_KEY_LENGTH: Final = 64
_View = TypeVar("_View", bound=type[ApiView])


class Decide(Protocol):
    """Decides over a command or a batch, and answers how it stands then."""

    def __call__(self, actor: Actor, *, decision: str, subject_id: int, reason: str) -> object:
        """See `commands_entries`."""


class CommandQuery(shapes.PageQuery):
    """Filters of the list of commands."""

    device = serializers.IntegerField(
        required=False, min_value=1, max_value=shapes.MAX_ID, source="device_id"
    )
    batch = serializers.IntegerField(
        required=False, min_value=1, max_value=shapes.MAX_ID, source="batch_id"
    )
    state = serializers.ChoiceField([state.value for state in State], required=False)


class AskBody(shapes.Body):
    """What devices are to do: named by number, or selected."""

    devices = serializers.ListField(
        child=serializers.IntegerField(min_value=1, max_value=shapes.MAX_ID),
        required=False,
        default=list,
        max_length=MAX_NAMED,
        help_text="A single one gets a command of its own, several a batch.",
    )
    selection = serializers.JSONField(
        required=False, help_text="Everything, groups, a rule: `selection` of the documentation."
    )
    kind = serializers.ChoiceField([kind.value for kind in Kind])
    arguments = serializers.JSONField(required=False, default=dict)
    reason = serializers.CharField(
        required=False, default="", allow_blank=True, max_length=REASON_LENGTH
    )
    expires_in_s = serializers.IntegerField(
        required=False,
        min_value=LEAST_LIFETIME_S,
        max_value=MOST_LIFETIME_S,
        help_text="How long it may wait for its device.",
    )
    request_key = serializers.CharField(
        required=False,
        default="",
        allow_blank=True,
        max_length=_KEY_LENGTH,
        help_text="Sent again with the same, a request is done once.",
    )

    def validate_arguments(self, value: Any) -> Mapping[str, Any]:
        """An object."""
        if not isinstance(value, dict):
            raise serializers.ValidationError("Send a JSON object.")
        return value


class ReasonBody(shapes.Body):
    """Why."""

    reason = serializers.CharField(
        required=False, default="", allow_blank=True, max_length=REASON_LENGTH
    )


class CommandSerializer(serializers.Serializer[Any]):
    """A command to a device."""

    id = serializers.IntegerField(source="command_id")
    uid = serializers.CharField(help_text="The id that the device knows it by, in hex.")
    device = serializers.IntegerField(source="device_id")
    batch = serializers.IntegerField(source="batch_id", allow_null=True)
    kind = serializers.CharField()
    arguments = serializers.JSONField(help_text="As they travel.")
    state = serializers.ChoiceField([state.value for state in State])
    cause = serializers.CharField(help_text="Why it is in this state; empty where it need not be.")
    detail = serializers.CharField(help_text="What the device said of it.")
    reason = serializers.CharField()
    origin = serializers.CharField()
    asked_by = serializers.CharField(help_text="Empty for a service account and the system.")
    asked_at = serializers.DateTimeField()
    approved_by = serializers.CharField()
    queued_at = serializers.DateTimeField(allow_null=True)
    expires_at = serializers.DateTimeField()
    state_at = serializers.DateTimeField()
    attempts = serializers.IntegerField(help_text="How often it was sent.")
    answered_at = serializers.DateTimeField(
        allow_null=True, help_text="When the device had said its last word."
    )


class StepSerializer(serializers.Serializer[Any]):
    """A step in the history of a command."""

    at = serializers.DateTimeField()
    step = serializers.CharField()
    state = serializers.CharField()
    cause = serializers.CharField()
    attempt = serializers.IntegerField()
    detail = serializers.CharField()
    by = serializers.CharField()
    connection = serializers.IntegerField(help_text="The device's connection; 0 for none.")


class CommandDetailSerializer(serializers.Serializer[Any]):
    """A command with all that has happened to it."""

    command = CommandSerializer()
    history = StepSerializer(many=True)


class RefusedSerializer(serializers.Serializer[Any]):
    """Devices that cannot do what was asked for."""

    code = serializers.CharField()
    reason = serializers.CharField()
    devices = serializers.ListField(child=serializers.IntegerField(), source="device_ids")


class BatchSerializer(serializers.Serializer[Any]):
    """The same command to several devices, and how far it has come."""

    id = serializers.IntegerField(source="batch_id")
    kind = serializers.CharField()
    arguments = serializers.JSONField()
    reason = serializers.CharField()
    origin = serializers.CharField()
    asked_by = serializers.CharField(help_text="Empty for a service account and the system.")
    asked_at = serializers.DateTimeField()
    devices = serializers.IntegerField(help_text="Devices that were asked.")
    counts = serializers.DictField(
        child=serializers.IntegerField(), help_text="State → how many of its commands are in it."
    )
    causes = serializers.DictField(child=serializers.IntegerField(), help_text="Cause → how many.")
    open = serializers.BooleanField(help_text="Whether something is still to come.")
    refused = RefusedSerializer(many=True)
    retry_of = serializers.IntegerField(allow_null=True)


class AskedSerializer(serializers.Serializer[Any]):
    """What was made of a request."""

    command = CommandSerializer(allow_null=True, help_text="Of a single device.")
    batches = BatchSerializer(many=True, help_text="Of several; one for each organisation.")


@contextmanager
def told() -> Iterator[None]:
    """What the domain refuses, at the parameters that it is called by outside."""
    try:
        yield
    except NotAllowedError as error:
        raise PermissionDenied(str(error)) from error
    except SelectionRefused as error:
        raise ValidationError({"selection": [str(error)]}) from error
    except Refused as error:
        by_field = getattr(error, "message_dict", None) or {NON_FIELD_ERRORS: error.messages}
        raise ValidationError(by_field) from error


def body_of(shape: type[shapes.Body], request: Request) -> Mapping[str, Any]:
    """The values of a request; raises ValidationError."""
    if not isinstance(request.data, dict):
        raise ValidationError(["Send a JSON object."])
    body = shape(data=request.data)
    body.is_valid(raise_exception=True)
    values: Mapping[str, Any] = body.validated_data
    return values


def actor_of(request: Request) -> Actor:
    """Who asks, and what they may."""
    access = access_of(request)
    assert access is not None  # the view's declaration has asked for it
    return Actor(request.user.pk, access.permissions)


def _key(request: Request, given: str) -> str:
    """The caller's name for its request, apart from those that others gave."""
    if not given:
        return ""
    caller = f"u{request.user.pk}"
    if isinstance(request.auth, Bearer):
        caller = f"a{request.auth.application_id}:{caller}"
    return f"{caller}:{given}"


class CommandView(ApiView):
    """What does not exist is 404."""

    def handle_exception(self, exc: Exception) -> Response:
        """Commands, batches and devices beyond the scope."""
        if isinstance(exc, CommandNotFound | BatchNotFound | DevicesNotFound):
            exc = NotFound()
        return super().handle_exception(exc)


class CommandList(CommandView):
    """The commands that the caller may see, the newest first."""

    access = {"GET": READING, "POST": ASKING}

    @extend_schema(
        operation_id="commands",
        tags=["Commands"],
        parameters=[CommandQuery],
        responses={200: list_of(CommandSerializer), **problems(400, 401, 403, 429)},
    )
    def get(self, request: Request) -> Response:
        """Of a device, of a batch, in a state."""
        wanted = dict(self.parameters(CommandQuery, request))
        state = wanted.pop("state", None)
        found = queries.command_page(states=() if state is None else (state,), **wanted)
        return self.page(request, found, CommandSerializer)

    @extend_schema(
        operation_id="commands_ask",
        tags=["Commands"],
        request=AskBody,
        responses={201: AskedSerializer, **problems(400, 401, 403, 404, 429)},
    )
    def post(self, request: Request) -> Response:
        """Ask one device, or many. Switching off needs a reason and devices.disable."""
        values = body_of(AskBody, request)
        with told():
            made = entries.ask_entry(
                actor_of(request),
                kind=values["kind"],
                arguments=values["arguments"],
                device_ids=values["devices"],
                selection=values.get("selection"),
                reason=values["reason"],
                expires_in_s=values.get("expires_in_s"),
                origin=Origin.PERSON if request.auth is None else Origin.API,
                request_key=_key(request, values["request_key"]),
            )
        return Response(AskedSerializer(made).data, status=201)


class CommandOne(CommandView):
    """A command with its history."""

    access = {"GET": READING}

    @extend_schema(
        operation_id="command",
        tags=["Commands"],
        responses={200: CommandDetailSerializer, **problems(401, 403, 404, 429)},
    )
    def get(self, request: Request, pk: int) -> Response:
        """Where it is, and every step that led there."""
        del request
        return Response(CommandDetailSerializer(queries.command_detail(command_id=pk)).data)


def _decision(operation_id: str, responses: dict[Any, Any]) -> Callable[[_View], _View]:
    """How the reference tells of a view that decides."""
    told = extend_schema(
        operation_id=operation_id, tags=["Commands"], request=ReasonBody, responses=responses
    )
    return extend_schema_view(post=told)


class Decision(CommandView):
    """The base of what is decided over a command, or over all of a batch that is open.

    `decide` is a function of `commands_entries`, `shape` what it answers.
    """

    decision: ClassVar[str]
    decide: ClassVar[Decide]
    shape: ClassVar[type[serializers.Serializer[Any]]]

    def post(self, request: Request, pk: int) -> Response:
        """Decide, and tell how it stands then."""
        reason = body_of(ReasonBody, request)["reason"]
        with told():
            found = type(self).decide(
                actor_of(request), decision=self.decision, subject_id=pk, reason=reason
            )
        return Response(self.shape(found).data)


class CommandDecision(Decision):
    """What is decided over a command."""

    decide = staticmethod(entries.decide_command)
    shape = CommandDetailSerializer


_DECIDED: Final[dict[Any, Any]] = {
    200: CommandDetailSerializer,
    **problems(400, 401, 403, 404, 429),
}


@_decision("commands_cancel", _DECIDED)
class CommandCancel(CommandDecision):
    """A command is not wanted any more."""

    access = {"POST": ASKING}
    decision = "cancel"


@_decision("commands_approve", _DECIDED)
class CommandApprove(CommandDecision):
    """Somebody else agrees to a command."""

    access = {"POST": APPROVING}
    decision = "approve"


@_decision("commands_refuse", _DECIDED)
class CommandRefuse(CommandDecision):
    """Somebody else does not agree to a command."""

    access = {"POST": APPROVING}
    decision = "refuse"


class BatchList(CommandView):
    """The batches that the caller may see, the newest first."""

    access = {"GET": READING}

    @extend_schema(
        operation_id="command_batches",
        tags=["Commands"],
        parameters=[shapes.PageQuery],
        responses={200: list_of(BatchSerializer), **problems(400, 401, 403, 429)},
    )
    def get(self, request: Request) -> Response:
        """With how many of their commands are in which state."""
        wanted = self.parameters(shapes.PageQuery, request)
        return self.page(request, queries.batch_page(**wanted), BatchSerializer)


class BatchOne(CommandView):
    """A batch."""

    access = {"GET": READING}

    @extend_schema(
        operation_id="command_batch",
        tags=["Commands"],
        responses={200: BatchSerializer, **problems(401, 403, 404, 429)},
    )
    def get(self, request: Request, pk: int) -> Response:
        """How far it has come; its commands are `commands/?batch=`."""
        del request
        return Response(BatchSerializer(queries.batch_entry(batch_id=pk)).data)


class BatchDecision(Decision):
    """What is decided over a batch."""

    decide = staticmethod(entries.decide_batch)
    shape = BatchSerializer


_BATCH_DECIDED: Final[dict[Any, Any]] = {
    200: BatchSerializer,
    **problems(400, 401, 403, 404, 429),
}


@_decision("command_batches_cancel", _BATCH_DECIDED)
class BatchCancel(BatchDecision):
    """What of a batch was never sent is not wanted any more."""

    access = {"POST": ASKING}
    decision = "cancel"


@_decision("command_batches_approve", _BATCH_DECIDED)
class BatchApprove(BatchDecision):
    """Somebody else agrees to a batch."""

    access = {"POST": APPROVING}
    decision = "approve"


@_decision("command_batches_refuse", _BATCH_DECIDED)
class BatchRefuse(BatchDecision):
    """Somebody else does not agree to a batch."""

    access = {"POST": APPROVING}
    decision = "refuse"


class BatchRetry(CommandView):
    """The failed ones of a batch, once more."""

    access = {"POST": ASKING}

    @extend_schema(
        operation_id="command_batches_retry",
        tags=["Commands"],
        request=ReasonBody,
        responses={201: AskedSerializer, **problems(400, 401, 403, 404, 429)},
    )
    def post(self, request: Request, pk: int) -> Response:
        """A new batch for the devices whose commands have failed or expired."""
        values = body_of(ReasonBody, request)
        with told():
            made = entries.retry_entry(actor_of(request), batch_id=pk, reason=values["reason"])
        return Response(AskedSerializer(made).data, status=201)
