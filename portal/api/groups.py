"""Groups of devices over the REST API."""

from __future__ import annotations

from typing import Any, Final

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response

from devices.domain import groups_entries as entries
from devices.domain import groups_operations, groups_queries
from devices.domain.groups_operations import NAME_LENGTH, TEXT_LENGTH
from devices.domain.groups_queries import GroupFacts, GroupNotFound
from devices.domain.selection import MAX_NAMED
from devices.models import DeviceGroup
from portal.api import serializers as shapes
from portal.api.access import Requires, access_of, tenant_of
from portal.api.commands import body_of, told
from portal.api.schema import list_of, problems
from portal.api.views import DEVICES, ApiView
from tenants.permissions import Permission

GROUPING: Final = Requires(
    (Permission.DEVICES_VIEW, Permission.DEVICES_CONTROL), ("devices:read", "commands:write")
)
_RULE: Final = "Conditions that must all hold, as in `selection`; null for a group of members."


def _ids(text: str) -> serializers.ListField:
    return serializers.ListField(
        child=serializers.IntegerField(min_value=1, max_value=shapes.MAX_ID),
        required=False,
        default=list,
        max_length=MAX_NAMED,
        help_text=text,
    )


class GroupBody(shapes.Body):
    """What a group shall be."""

    name = serializers.CharField(max_length=NAME_LENGTH)
    description = serializers.CharField(
        required=False, default="", allow_blank=True, max_length=TEXT_LENGTH
    )
    rule = serializers.JSONField(required=False, default=None, allow_null=True, help_text=_RULE)


class NewGroupBody(GroupBody):
    """A group that is to be made."""

    devices = _ids("Its first members, by number.")


class MembersBody(shapes.Body):
    """Who shall belong to a group, and who no more."""

    add = _ids("Devices to put in.")
    remove = _ids("Devices to take out.")


class RuleBody(shapes.Body):
    """A rule that is tried."""

    rule = serializers.JSONField(help_text=_RULE)


class GroupSerializer(serializers.Serializer[Any]):
    """A group of devices."""

    id = serializers.IntegerField(source="group_id")
    name = serializers.CharField()
    description = serializers.CharField()
    rule = serializers.SerializerMethodField(help_text=_RULE)
    count = serializers.IntegerField(help_text="Devices that it holds now.")

    def get_rule(self, of: GroupFacts) -> dict[str, Any] | None:
        """As it is stored."""
        return None if of.rule is None else of.rule.to_json()


class MemberSerializer(serializers.Serializer[Any]):
    """A device of a group."""

    id = serializers.IntegerField(source="pk")
    serial = serializers.CharField()
    name = serializers.CharField()
    facility = serializers.IntegerField(source="facility_id")


class HeldSerializer(serializers.Serializer[Any]):
    """What a rule would hold now."""

    count = serializers.IntegerField()
    sample = MemberSerializer(many=True, help_text="The first of them by name.")


def _tenant(request: Request) -> int:
    access = access_of(request)
    assert access is not None  # the view's declaration has asked for it
    return tenant_of(access)


class GroupView(ApiView):
    """What does not exist is 404."""

    def handle_exception(self, exc: Exception) -> Response:
        """Groups beyond the scope."""
        if isinstance(exc, GroupNotFound | DeviceGroup.DoesNotExist):
            exc = NotFound()
        return super().handle_exception(exc)


class GroupList(GroupView):
    """The groups of devices, by id."""

    access = {"GET": DEVICES, "POST": GROUPING}

    @extend_schema(
        operation_id="groups",
        tags=["Groups"],
        parameters=[shapes.PageQuery],
        responses={200: list_of(GroupSerializer), **problems(400, 401, 403, 429)},
    )
    def get(self, request: Request) -> Response:
        """Groups concern the organisation as a whole: an access to some facilities sees none."""
        found = groups_queries.group_page(**self.parameters(shapes.PageQuery, request))
        return self.page(request, found, GroupSerializer)

    @extend_schema(
        operation_id="groups_create",
        tags=["Groups"],
        request=NewGroupBody,
        responses={201: GroupSerializer, **problems(400, 401, 403, 429)},
    )
    def post(self, request: Request) -> Response:
        """A group of members, or of all devices that satisfy a rule."""
        values = body_of(NewGroupBody, request)
        with told():
            made = entries.create_entry(
                tenant_id=_tenant(request),
                name=values["name"],
                description=values["description"],
                rule=values["rule"],
                device_ids=values["devices"],
                actor_id=request.user.pk,
            )
        return Response(GroupSerializer(made).data, status=201)


class GroupOne(GroupView):
    """A group of devices."""

    access = {"GET": DEVICES, "PUT": GROUPING, "DELETE": GROUPING}

    @extend_schema(
        operation_id="group",
        tags=["Groups"],
        responses={200: GroupSerializer, **problems(401, 403, 404, 429)},
    )
    def get(self, request: Request, pk: int) -> Response:
        """With how many devices it holds now."""
        del request
        return Response(GroupSerializer(groups_queries.group(group_id=pk)).data)

    @extend_schema(
        operation_id="groups_change",
        tags=["Groups"],
        request=GroupBody,
        responses={200: GroupSerializer, **problems(400, 401, 403, 404, 429)},
    )
    def put(self, request: Request, pk: int) -> Response:
        """Another name, description or rule; a group keeps its kind."""
        values = body_of(GroupBody, request)
        with told():
            changed = entries.change_entry(group_id=pk, actor_id=request.user.pk, **values)
        return Response(GroupSerializer(changed).data)

    @extend_schema(
        operation_id="groups_remove",
        tags=["Groups"],
        responses={204: None, **problems(400, 401, 403, 404, 429)},
    )
    def delete(self, request: Request, pk: int) -> Response:
        """Its devices stay. Refused while the rule of another group names it."""
        with told():
            groups_operations.delete_group(group_id=pk, actor_id=request.user.pk)
        return Response(status=204)


class GroupDevices(GroupView):
    """The devices of a group."""

    access = {"GET": DEVICES, "POST": GROUPING}

    @extend_schema(
        operation_id="group_devices",
        tags=["Groups"],
        parameters=[shapes.PageQuery],
        responses={200: list_of(MemberSerializer), **problems(400, 401, 403, 404, 429)},
    )
    def get(self, request: Request, pk: int) -> Response:
        """Its members, or those that satisfy its rule now."""
        wanted = self.parameters(shapes.PageQuery, request)
        return self.page(
            request, groups_queries.member_page(group_id=pk, **wanted), MemberSerializer
        )

    @extend_schema(
        operation_id="group_devices_change",
        tags=["Groups"],
        request=MembersBody,
        responses={200: GroupSerializer, **problems(400, 401, 403, 404, 429)},
    )
    def post(self, request: Request, pk: int) -> Response:
        """Put devices in and take others out; who is there already, or is not, stays so."""
        values = body_of(MembersBody, request)
        with told():
            changed = entries.move_entry(group_id=pk, actor_id=request.user.pk, **values)
        return Response(GroupSerializer(changed).data)


class GroupPreview(GroupView):
    """What a rule would hold."""

    access = {"POST": GROUPING}

    @extend_schema(
        operation_id="groups_preview",
        tags=["Groups"],
        request=RuleBody,
        responses={200: HeldSerializer, **problems(400, 401, 403, 429)},
    )
    def post(self, request: Request) -> Response:
        """Nothing is written."""
        values = body_of(RuleBody, request)
        with told():
            found = entries.preview_entry(tenant_id=_tenant(request), rule=values["rule"])
        return Response(HeldSerializer(found).data)
