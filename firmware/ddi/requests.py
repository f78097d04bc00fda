"""What controllers send, read and bounded.

Unknown members are ignored, as hawkBit does. What a client may write at length (the log lines of
`details`) is cut instead of refused: an update must not fail because a device says too much.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, TypeVar

from firmware.ddi.errors import DdiError, ErrorCode

# Bytes of a body: SWUpdate sends up to 48 lines of log at once; what is larger is no feedback.
MOST_BODY: Final = 64 * 1024
# Lines of `details` that are kept, and characters of each.
MOST_DETAILS: Final = 50
MOST_DETAIL_CHARS: Final = 512
# Attributes of a device, and characters of their names and values (hawkBit's own bounds).
MOST_ATTRIBUTES: Final = 100
MOST_KEY_CHARS: Final = 128
MOST_VALUE_CHARS: Final = 128
MOST_INITIATOR_CHARS: Final = 64
MOST_REMARK_CHARS: Final = 512
_MOST_NUMBER: Final = 2**31 - 1

Word = TypeVar("Word", bound=StrEnum)


class Execution(StrEnum):
    """How far a controller is with an action."""

    CLOSED = "closed"
    PROCEEDING = "proceeding"
    CANCELED = "canceled"
    SCHEDULED = "scheduled"
    REJECTED = "rejected"
    RESUMED = "resumed"
    DOWNLOADED = "downloaded"
    DOWNLOAD = "download"


class Finished(StrEnum):
    """The result of an action, once it is closed."""

    SUCCESS = "success"
    FAILURE = "failure"
    NONE = "none"


class Mode(StrEnum):
    """How sent attributes change those that are known."""

    MERGE = "merge"
    REPLACE = "replace"
    REMOVE = "remove"


@dataclass(frozen=True, slots=True)
class Feedback:
    """News of an action. `done` of `total` steps where the controller counts them (else 0 of 0);
    `code` is its own number, where it sent one.
    """

    execution: Execution
    finished: Finished = Finished.NONE
    done: int = 0
    total: int = 0
    code: int | None = None
    details: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The details as lines."""
        return "\n".join(self.details)


@dataclass(frozen=True, slots=True)
class Consent:
    """What somebody at the device said to an update."""

    confirmed: bool
    code: int | None = None
    details: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The details as lines."""
        return "\n".join(self.details)


@dataclass(frozen=True, slots=True)
class Attributes:
    """What a device tells of itself."""

    mode: Mode = Mode.MERGE
    data: Mapping[str, str] = field(default_factory=dict)

    def applied_to(self, known: Mapping[str, str]) -> dict[str, str]:
        """The attributes afterwards; raises DdiError when they would be too many."""
        if self.mode is Mode.REPLACE:
            after = dict(self.data)
        elif self.mode is Mode.REMOVE:
            after = {key: value for key, value in known.items() if key not in self.data}
        else:
            after = {**known, **self.data}
        if len(after) > MOST_ATTRIBUTES:
            raise DdiError(
                ErrorCode.QUOTA,
                f"A device has at most {MOST_ATTRIBUTES} attributes; these would be {len(after)}.",
            )
        return after


@dataclass(frozen=True, slots=True)
class AutoConfirm:
    """Who agreed to updates in advance, and the remark."""

    initiator: str = ""
    remark: str = ""


def read_feedback(body: object) -> Feedback:
    """The body of `…/feedback`; raises DdiError with the member that is wrong."""
    status = _object(_object(body, "the body").get("status"), "status")
    result = _object(status.get("result"), "status.result")
    progress = _object(result.get("progress") or {}, "status.result.progress")
    execution = _word(Execution, status.get("execution"), "status.execution")
    return Feedback(
        execution=execution,
        finished=_word(Finished, result.get("finished"), "status.result.finished"),
        done=_number(progress.get("cnt"), "status.result.progress.cnt") or 0,
        total=_number(progress.get("of"), "status.result.progress.of") or 0,
        code=_number(status.get("code"), "status.code"),
        details=_lines(status.get("details"), "status.details"),
    )


def read_consent(body: object) -> Consent:
    """The body of `confirmationBase/{id}/feedback`; raises DdiError."""
    sent = _object(body, "the body")
    said = sent.get("confirmation")
    if said not in ("confirmed", "denied"):
        raise _invalid("confirmation", "“confirmed” or “denied”")
    return Consent(
        confirmed=said == "confirmed",
        code=_number(sent.get("code"), "code"),
        details=_lines(sent.get("details"), "details"),
    )


def read_attributes(body: object) -> Attributes:
    """The body of `configData`; raises DdiError."""
    sent = _object(body, "the body")
    mode = sent.get("mode")
    data = _object(sent.get("data"), "data")
    if len(data) > MOST_ATTRIBUTES:
        raise DdiError(ErrorCode.QUOTA, f"Send at most {MOST_ATTRIBUTES} attributes at once.")
    return Attributes(
        mode=Mode.MERGE if mode is None else _word(Mode, mode, "mode"),
        data={_key(key): _value(key, value) for key, value in data.items()},
    )


def read_auto_confirm(body: object) -> AutoConfirm:
    """The body of `activateAutoConfirm`, which may be left out; raises DdiError."""
    if body is None:
        return AutoConfirm()
    sent = _object(body, "the body")
    return AutoConfirm(
        initiator=_text(sent.get("initiator"), "initiator", MOST_INITIATOR_CHARS),
        remark=_text(sent.get("remark"), "remark", MOST_REMARK_CHARS),
    )


def _invalid(member: str, wanted: str) -> DdiError:
    return DdiError(ErrorCode.UNREADABLE, f"In {member}, send {wanted}.")


def _object(value: object, member: str) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise _invalid(member, "an object")
    return value


def _word(words: type[Word], value: object, member: str) -> Word:
    # Clients differ in the case; hawkBit itself reads small letters.
    if isinstance(value, str) and value.lower() in list(words):
        return words(value.lower())
    raise _invalid(member, "one of " + ", ".join(words))


def _number(value: object, member: str) -> int | None:
    if value is None:
        return None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 10:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or abs(value) > _MOST_NUMBER:
        raise _invalid(member, "a whole number of 32 bits")
    return value


def _lines(value: object, member: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise _invalid(member, "a list of texts")
    if not all(isinstance(line, str | int | float | None) for line in value):
        raise _invalid(member, "texts alone")
    told = [_plain(str(line)) for line in value if line not in (None, "")]
    # Of too many, the last ones: they say how it ended.
    return tuple(line[:MOST_DETAIL_CHARS] for line in told[-MOST_DETAILS:])


def _plain(text: str) -> str:
    """Without what no line may hold (PostgreSQL refuses NUL), nor halves of characters."""
    whole = text.encode("utf-8", "replace").decode()
    return "".join(c if c.isprintable() else " " for c in whole)


def _key(key: object) -> str:
    if not isinstance(key, str) or not key or len(key) > MOST_KEY_CHARS:
        raise DdiError(
            ErrorCode.ATTRIBUTES, f"Names of attributes have 1 to {MOST_KEY_CHARS} characters."
        )
    return _plain(key)


def _value(key: object, value: object) -> str:
    text = "" if value is None else value
    if isinstance(text, bool):
        text = "true" if text else "false"
    if isinstance(text, int | float):
        text = str(text)
    if not isinstance(text, str) or len(text) > MOST_VALUE_CHARS:
        raise DdiError(
            ErrorCode.ATTRIBUTES,
            f"The value of the attribute {str(key)[:MOST_KEY_CHARS]!r} is a text of at most"
            f" {MOST_VALUE_CHARS} characters.",
        )
    return _plain(text)


def _text(value: object, member: str, most: int) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > most:
        raise _invalid(member, f"a text of at most {most} characters")
    return _plain(value)
