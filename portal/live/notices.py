"""The sockets' notices under the name of this door; they live in `portal/feed/`."""

from __future__ import annotations

from portal.feed.notices import memberships_changed, user_group

__all__ = ["memberships_changed", "user_group"]
