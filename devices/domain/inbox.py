"""What devices have said that the application must act on, each row exactly once.

The writer adds rows in the transaction that stores the message. Who acts on them takes them in the
transaction in which they take effect: if it fails, they are there again.
"""

from __future__ import annotations

from django.db import connection

from devices.telemetry import inbox
from devices.telemetry.inbox import InboxRow

__all__ = ["InboxRow", "take"]


def take(topic: str, most: int) -> list[InboxRow]:
    """The oldest rows of a topic in the scope, by id; they are gone when the transaction commits.

    One consumer of a topic at a time: while another one has not ended its transaction, nothing.
    Needs an open scope, and by it a transaction.
    """
    return inbox.take(connection, topic, most)
