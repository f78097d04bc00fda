"""The error bodies of hawkBit: `exceptionClass`, `errorCode`, `message`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final


class ErrorCode(Enum):
    """HTTP status, `errorCode` and the name of the exception, as hawkBit's clients know them."""

    NOT_FOUND = (404, "hawkbit.server.error.repo.entitiyNotFound", "EntityNotFoundException")
    UNREADABLE = (
        400,
        "hawkbit.server.error.rest.body.notReadable",
        "MessageNotReadableException",
    )
    INVALID = (400, "hawkbit.server.error.repo.constraintViolation", "ConstraintViolationException")
    ATTRIBUTES = (
        400,
        "hawkbit.server.error.repo.invalidTargetAttributes",
        "InvalidTargetAttributeException",
    )
    QUOTA = (403, "hawkbit.server.error.quota.tooManyEntries", "AssignmentQuotaExceededException")
    # Not known to hawkBit, in its form: clients show the message.
    INACTIVE = (403, "wattline.error.deviceNotActive", "InsufficientPermissionException")
    INSECURE = (403, "wattline.error.insecure", "InsufficientPermissionException")
    TOO_LARGE = (
        413,
        "hawkbit.server.error.fileSizeQuotaExceeded",
        "FileSizeQuotaExceededException",
    )

    def __init__(self, status: int, code: str, exception: str) -> None:
        self.status: Final = status
        self.code: Final = code
        self.exception: Final = exception


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that is not done: what, and a sentence that says why."""

    code: ErrorCode
    message: str

    def body(self) -> dict[str, object]:
        """What is sent."""
        return {
            "exceptionClass": f"org.eclipse.hawkbit.{self.code.exception}",
            "errorCode": self.code.code,
            "message": self.message,
        }


class DdiError(Exception):
    """A request that cannot be done; `refusal` is its answer."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.refusal: Final = Refusal(code, message)
