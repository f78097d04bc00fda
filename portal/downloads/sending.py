"""Answers that are under way, counted and paced by whom they go to."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from functools import partial
from weakref import ReferenceType, WeakSet, ref

from django.http import StreamingHttpResponse

from devices.ingest.limits import MAX_TRACKED, Pace


class Sending:
    """How many answers one process sends at once to each receiver: `most` at most.

    An open answer holds a file and, where the receiver reads slowly, a place in the process. All
    answers to a receiver keep one pace, also one after another, so that many small ranges are no
    faster than the whole. An answer may be ended more than once, and one that nobody has any more
    counts as ended. The views run in several threads.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._answers: dict[Hashable, WeakSet[StreamingHttpResponse]] = {}
        self._paces: OrderedDict[Hashable, Pace] = OrderedDict()
        self._lock = threading.Lock()

    def count(self, receiver: Hashable) -> int:
        """The answers under way to a receiver."""
        with self._lock:
            return len(self._answers.get(receiver, ()))

    def is_full(self, receiver: Hashable) -> bool:
        """Whether a receiver has as many as it may have."""
        return self.count(receiver) >= self._most

    def pace(self, receiver: Hashable, rate: int) -> Pace:
        """The pace of a receiver, from now on of `rate` bytes/s (0: as fast as it goes). Those not
        used for the longest time are forgotten.
        """
        with self._lock:
            pace = self._paces.setdefault(receiver, Pace(rate))
            self._paces.move_to_end(receiver)
            if len(self._paces) > MAX_TRACKED:
                self._paces.popitem(last=False)
        pace.rate = rate
        return pace

    def begin(self, receiver: Hashable, answer: StreamingHttpResponse) -> None:
        """Count an answer until it has ended."""
        with self._lock:
            self._answers.setdefault(receiver, WeakSet()).add(answer)
        # The server calls it when all is sent, and when the peer has hung up.
        answer._resource_closers.append(partial(self._end, receiver, ref(answer)))  # type: ignore[attr-defined]  # noqa: SLF001

    def _end(self, receiver: Hashable, of: ReferenceType[StreamingHttpResponse]) -> None:
        with self._lock:
            answers = self._answers.get(receiver)
            answer = of()
            if answers is not None and answer is not None:
                answers.discard(answer)
            if not answers:
                self._answers.pop(receiver, None)
