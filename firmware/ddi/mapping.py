"""What a controller tells, in the words of roll-outs (`firmware.domain.reports`).

DDI names no reasons: a failure comes with lines of log and perhaps a number of the device's own.
The code is what these lines show, and `other` where they show nothing; the lines are kept.
"""

from __future__ import annotations

import re
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


def news_of(feedback: Feedback) -> News:
    """What feedback about a deployment says.

    Closed without “failure” is a success, as in hawkBit. Whoever counts steps and has done all of
    them is installing; `rejected` is a remark and ends nothing, as in hawkBit.
    """
    text = _with_code(feedback)
    execution = feedback.execution
    if execution is Execution.CLOSED:
        if feedback.finished is Finished.FAILURE:
            return News("failed", failure_code(feedback.text), text, final=True)
        return News("confirmed", "", text, final=True)
    if execution is Execution.CANCELED:
        return News("withdrawn", "withdrawn", text, final=True)
    if execution is Execution.DOWNLOADED:
        return News("downloaded", "", text)
    if execution is Execution.PROCEEDING and 0 < feedback.total <= feedback.done <= _MOST_STEPS:
        return News("installing", "", text)
    return News("progress", "", text)


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
    if feedback.code is None:
        return feedback.text
    return f"{feedback.text}\n({feedback.code})".strip()
