"""What a controller tells, in the words of roll-outs (`firmware.domain.reports`).

DDI names no reasons: a failure comes with lines of log and perhaps a number of the device's own.
The code is what these lines show, and `other` where they show nothing; the lines are kept.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from firmware.ddi.requests import Execution, Feedback, Finished

# In this order: SWUpdate tells of a wrong signature with "Compatible SW not found" behind it.
_SIGNS: Final = tuple(
    (code, re.compile(pattern, re.IGNORECASE))
    for code, pattern in (
        ("signature", r"signature|certificate|authentication of all|not signed|keyring"),
        ("digest", r"hash mismatch|hash does not|checksum|sha-?1|sha-?256|digest|corrupt"),
        ("space", r"no space|not enough (free )?space|disk full|insufficient space"),
        ("battery", r"battery|power supply"),
        ("hardware", r"hardware|compatible sw not found|compatib"),
        ("version", r"downgrad|older version|version not|\breinstall"),
        ("timeout", r"time-?d? ?out"),
        ("self_test", r"self-?test|health check|boot failed|fallback|rolled back"),
        ("download", r"download|curl|connection|network|channel|resolve host"),
        ("flash", r"flash|write|install|script|mount|partition|handler"),
    )
)
# Causes of a failure that looks like one of the hardware.
_DEEPER: Final = frozenset({"signature", "digest"})
_ERROR: Final = re.compile(r"\W*(error|failed|failure|fatal)\b", re.IGNORECASE)
# Characters that are told to the roll-out.
MOST_DETAIL: Final = 380
# Numbers of steps beyond which a controller's counting is not taken for bytes or the like.
_MOST_STEPS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class News:
    """One report: its kind and code as in the protocol, the lines, and whether it is the last."""

    kind: str
    code: str = ""
    detail: str = ""
    final: bool = False


def failure_code(text: str) -> str:
    """What the lines of a failure show: of several signs, the first of the table."""
    for code, sign in _SIGNS:
        if sign.search(text):
            return code
    return "other"


def trouble_in(details: Sequence[str]) -> str:
    """The lines that tell of an error, as many of the last as are kept; empty without any.

    A client that logs much tells its errors between hundreds of other lines, and some (SWUpdate)
    before the feedback that says that the update has failed.
    """
    return _end_of([line for line in details if _ERROR.match(line)])


def news_of(feedback: Feedback, trouble: str = "") -> News:
    """What feedback about a deployment says; `trouble` are errors that were told before it.

    Closed without “failure” is a success, as in hawkBit. Whoever counts steps and has done all of
    them is installing; `rejected` is a remark and ends nothing, as in hawkBit.
    """
    text = _with_code(feedback)
    execution = feedback.execution
    if execution is Execution.CLOSED:
        if feedback.finished is Finished.FAILURE:
            return _failure(feedback, text, trouble)
        return News("confirmed", "", text, final=True)
    if execution is Execution.CANCELED:
        return News("withdrawn", "withdrawn", text, final=True)
    if execution is Execution.DOWNLOADED:
        return News("downloaded", "", text)
    if execution is Execution.PROCEEDING and 0 < feedback.total <= feedback.done <= _MOST_STEPS:
        return News("installing", "", text)
    return News("progress", "", text)


def _failure(feedback: Feedback, text: str, trouble: str) -> News:
    code = failure_code(feedback.text)
    # A wrong signature makes SWUpdate say at last that it has found nothing for this hardware;
    # which of its lines come together is a matter of time.
    if trouble and (code == "other" or (code == "hardware" and failure_code(trouble) in _DEEPER)):
        code, text = failure_code(trouble), _end_of([*trouble.split("\n"), *text.split("\n")])
    return News("failed", code, text, final=True)


def cancelled(feedback: Feedback) -> bool | None:
    """Whether feedback about a cancellation says that the update was stopped: True or False, and
    None while that is not settled.
    """
    if feedback.execution in (Execution.CLOSED, Execution.CANCELED):
        return feedback.finished is not Finished.FAILURE
    if feedback.execution is Execution.REJECTED:
        return False
    return None


def _with_code(feedback: Feedback) -> str:
    text = trouble_in(feedback.details) or _end_of(feedback.details)
    return text if feedback.code is None else f"{text}\n({feedback.code})".strip()


def _end_of(lines: Sequence[str]) -> str:
    """The last lines that fit into MOST_DETAIL characters; of a longer one, its beginning."""
    kept: list[str] = []
    left = MOST_DETAIL
    for line in reversed(lines):
        if len(line) > left:
            break
        kept.append(line)
        left -= len(line) + 1
    if not kept and lines:
        return lines[-1][:MOST_DETAIL]
    return "\n".join(reversed(kept))
