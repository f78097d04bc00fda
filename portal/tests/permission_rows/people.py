"""People, roles and invitations."""

from __future__ import annotations

from collections.abc import Mapping

from portal.tests.permission_rows.notation import Area, Row, anybody
from portal.tests.permission_rows.world import World
from tenants.models import CustomRole, Invitation, Membership
from tenants.scope import open_scope

_VIEW = "operator admin manager support"
_CHANGE = "operator admin"
# What concerns a tenant as a whole is not for members who are narrowed to facilities, whatever their
# role.
_NARROW_VIEW = {"elsewhere admin": 403, "elsewhere manager": 403, "elsewhere support": 403}
_NARROW_CHANGE = {"elsewhere admin": 403}
# A tenant's roles are for all tenants below it, to be given and not to be changed.
_BELOW_VIEW = {**_NARROW_VIEW, "below admin": 200, "below manager": 200}


def _member(world: World) -> object:
    with open_scope(world.park.scope):
        return Membership.objects.get(user=world.park.manager).pk


def _invitation(world: World) -> object:
    with open_scope(world.park.scope):
        return Invitation.objects.get().pk


def _role(world: World) -> object:
    with open_scope(world.park.scope):
        return CustomRole.objects.earliest("pk").pk


def _other_role(world: World) -> Mapping[str, object]:
    del world
    return {"role": "analyst"}


def _everywhere(world: World) -> Mapping[str, object]:
    del world
    return {"reach": "all"}


# fmt: off
AREA = Area(
    rows=(
        #   route                 method  roles    may  far  others newcomer nobody
        Row("people",             "GET",  _VIEW,   200, 200, 403,   403,     302, but=_NARROW_VIEW),
        Row("facility-choices",   "GET",  _CHANGE, 200, 200, 403,   403,     302, but=_NARROW_CHANGE),
        Row("person",             "GET",  _VIEW,   200, 404, 403,   403,     302, "member", but=_NARROW_VIEW),
        Row("person-role",        "POST", _CHANGE, 302, 404, 403,   403,     302, "member", but=_NARROW_CHANGE, form=_other_role),
        Row("person-facilities",  "GET",  _CHANGE, 200, 404, 403,   403,     302, "member", but=_NARROW_CHANGE),
        Row("person-facilities",  "POST", _CHANGE, 302, 404, 403,   403,     302, "member", but=_NARROW_CHANGE, form=_everywhere),
        Row("person-suspend",     "POST", _CHANGE, 302, 404, 403,   403,     302, "member", but=_NARROW_CHANGE),
        Row("person-restore",     "POST", _CHANGE, 302, 404, 403,   403,     302, "member", but=_NARROW_CHANGE),
        Row("person-end",         "POST", _CHANGE, 302, 404, 403,   403,     302, "member", but=_NARROW_CHANGE),
        Row("roles",              "GET",  _VIEW,   200, 200, 403,   403,     302, but=_NARROW_VIEW),
        Row("role-built-in",      "GET",  _VIEW,   200, 200, 403,   403,     302, "code", but=_NARROW_VIEW),
        Row("role",               "GET",  _VIEW,   200, 404, 403,   403,     302, "custom role", but=_BELOW_VIEW),
        Row("role-new",           "GET",  _CHANGE, 200, 200, 403,   403,     302, but=_NARROW_CHANGE),
        Row("role-new",           "POST", _CHANGE, 200, 200, 403,   403,     302, but=_NARROW_CHANGE),
        Row("role-edit",          "GET",  _CHANGE, 200, 404, 403,   403,     302, "custom role", but=_NARROW_CHANGE),
        Row("role-edit",          "POST", _CHANGE, 200, 404, 403,   403,     302, "custom role", but=_NARROW_CHANGE),
        Row("role-delete",        "POST", _CHANGE, 302, 404, 403,   403,     302, "custom role", but=_NARROW_CHANGE),
        Row("invitations",        "GET",  _VIEW,   200, 200, 403,   403,     302, but=_NARROW_VIEW),
        Row("invitation-new",     "GET",  _CHANGE, 200, 200, 403,   403,     302, but=_NARROW_CHANGE),
        Row("invitation-new",     "POST", _CHANGE, 200, 200, 403,   403,     302, but=_NARROW_CHANGE),
        Row("invitation-bulk",    "GET",  _CHANGE, 200, 200, 403,   403,     302, but=_NARROW_CHANGE),
        Row("invitation-bulk",    "POST", _CHANGE, 200, 200, 403,   403,     302, but=_NARROW_CHANGE),
        Row("invitation-resend",  "POST", _CHANGE, 302, 404, 403,   403,     302, "invitation", but=_NARROW_CHANGE),
        Row("invitation-revoke",  "POST", _CHANGE, 302, 404, 403,   403,     302, "invitation", but=_NARROW_CHANGE),
        anybody("invitation-accept", "GET", 404, "token"),
        anybody("invitation-accept", "POST", 404, "token"),
    ),
    subjects={
        "member": _member,
        "invitation": _invitation,
        "custom role": _role,
        "code": lambda world: "analyst",
        # Who holds a token is asked for nothing else; what one opens is shown in test_people_join.
        "token": lambda world: "x" * 43,
    },
    secrets=lambda world: [world.park.manager.email],
)
# fmt: on
