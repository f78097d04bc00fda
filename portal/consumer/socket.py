"""`/home/ws/live/`: the live socket of the consumer view, for browsers with its session."""

from __future__ import annotations

from dataclasses import replace

from django.conf import settings

from portal.consumer import sessions
from portal.feed.socket import FeedSocket, in_thread
from portal.feed.watching import PERMISSIONS, Refused, Target, Watching, look


class HomeSocket(FeedSocket):
    """Whom the access token speaks for watches what its scopes and the person's role allow.

    The token is renewed on the way: a page may stay open for days.
    """

    async def identify(self) -> int | None:
        """The person behind the cookie."""
        self._secret = self.scope["cookies"].get(settings.HOME_COOKIE_NAME)
        try:
            visit = await in_thread(sessions.visit)(self._secret)
        except (sessions.SignedOut, sessions.NoMembership):
            return None
        return visit.bearer.user_id

    def describe(self, user_id: int, target: Target) -> Watching:
        """Looks at the session, its token, scopes and role."""
        try:
            visit = sessions.visit(self._secret)
        except sessions.SignedOut:
            raise Refused("the session has ended", signed_in=False) from None
        except sessions.NoMembership:
            raise Refused("the membership has ended") from None
        bearer = visit.bearer
        if bearer.user_id != user_id:
            raise Refused("somebody else is signed in", signed_in=False)
        if not all(map(bearer.allows, PERMISSIONS[target.kind])):
            raise Refused("the role does not include readings")
        return look(scope=bearer.scope, target=replace(target, tenant_id=bearer.tenant_id))
