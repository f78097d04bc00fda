"""`/ws/live/`: the live socket of the portal's pages, for a browser with a session."""

from __future__ import annotations

from portal.feed.socket import FeedSocket
from portal.feed.watching import Target, Watching
from portal.live import watching


class LiveConsumer(FeedSocket):
    """Whom the session names watches what membership and role allow."""

    async def identify(self) -> int | None:
        """The signed-in user."""
        user = self.scope["user"]
        return None if user is None else user.pk  # an anonymous user has no key

    def describe(self, user_id: int, target: Target) -> Watching:
        """Looks at session, membership and permission."""
        return watching.describe(
            session_key=self.scope["session"].session_key, user_id=user_id, target=target
        )
