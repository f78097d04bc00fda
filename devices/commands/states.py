"""Where a command is, and why it is there: the codes that are stored."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class State(StrEnum):
    """Where a command is.

    SENT is unanswered: a device has at most one of these. ACKNOWLEDGED was taken by the device,
    which is still at it. The last four are ends; those that the server guessed (nobody answered,
    or settings were reported and no last word came) give way to what the device says later.
    """

    AWAITING_APPROVAL = "awaiting_approval"
    QUEUED = "queued"
    SENT = "sent"
    ACKNOWLEDGED = "acknowledged"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


# Never given to a device yet.
UNSENT: Final = frozenset({State.AWAITING_APPROVAL, State.QUEUED})
# Something is still to come.
OPEN: Final = UNSENT | {State.SENT, State.ACKNOWLEDGED}
ENDED: Final = frozenset(State) - OPEN


class Step(StrEnum):
    """What happened to a command: the kinds of entries in its history."""

    ASKED = "asked"
    APPROVED = "approved"
    REFUSED = "refused"
    SENT = "sent"
    ACKNOWLEDGED = "acknowledged"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    # The device said again what it had said, or something else after its last word.
    REPEATED = "repeated"
    CONTRADICTED = "contradicted"
    # Since it took the command, the device has told what its settings are.
    REPORTED = "reported"


class Cause(StrEnum):
    """Why a step was taken."""

    NONE = ""
    # Of sending: the first time, no answer within the wait, the device is back.
    FIRST = "first"
    NO_ANSWER = "no_answer"
    RECONNECTED = "reconnected"
    # Of an end: the device said so.
    DEVICE = "device"
    REJECTED = "rejected"
    # Of an end, for want of a last word: the settings are as the command was to make them.
    REPORTED = "reported"
    # Of an end: the server gave up.
    NEVER_CONNECTED = "never_connected"
    NOT_APPROVED = "not_approved"
    NO_RESULT = "no_result"
    DEVICE_GONE = "device_gone"
    # Of a cancellation.
    PERSON = "person"
    SUPERSEDED = "superseded"
    # Of approval: nobody had to be asked, or a second person was.
    NOT_NEEDED = "not_needed"
    SECOND_PERSON = "second_person"


class Origin(StrEnum):
    """Who asked for a command."""

    PERSON = "person"
    API = "api"
    BILLING = "billing"
    RECONCILIATION = "reconciliation"
    ROLLOUT = "rollout"
