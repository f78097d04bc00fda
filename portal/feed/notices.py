"""What the rest of the portal tells the sockets."""

from __future__ import annotations

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer


def user_group(user_id: int) -> str:
    """The group of all sockets of a user, over all processes."""
    return f"live-user-{user_id}"


def memberships_changed(user_id: int) -> None:
    """A user's memberships or granted facilities changed, or the account was closed.

    Their sockets look at the authorisation at once, and close or narrow. Call it from an entry
    point once the change is committed (`transaction.on_commit`).
    """
    layer = get_channel_layer()
    assert layer is not None
    async_to_sync(layer.group_send)(user_group(user_id), {"type": "membership.changed"})
