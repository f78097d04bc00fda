"""Signing in and out, and what people do with their own account."""

from __future__ import annotations

from allauth.usersessions.models import UserSession

from portal.tests.permission_rows.notation import EVERY, Area, Row, anybody, member
from portal.tests.permission_rows.world import World


def _session_of_the_manager(world: World) -> int:
    (manager,) = (person.user for person in world.people if person.name == "own manager")
    values = {"user": manager, "ip": "192.0.2.1", "user_agent": "Firefox/128.0 Linux"}
    return UserSession.objects.get_or_create(session_key="of-the-manager", defaults=values)[0].pk


# fmt: off
AREA = Area(
    rows=(
        member("login", "GET", 302, nobody=200),
        member("login", "POST", 302, nobody=200),
        member("login", "PUT", 302, nobody=200),
        member("login", "PATCH", 302, nobody=405),
        member("login", "DELETE", 302, nobody=405),
        anybody("logout", "POST", 302),
        member("account-sessions", "GET", 200),
        member("account-sessions-end", "POST", 302),
        #   route                  method  roles  may  far  others newcomer nobody  subject
        Row("account-session-end", "POST", EVERY, 404, 404, 404,   404,     302, "session",
            but={"own manager": 302}),
    ),
    subjects={"session": _session_of_the_manager},
)
# fmt: on
