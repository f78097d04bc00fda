"""What a device remembers of an update in flash: the offer, how far it is, and how others ended."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from enum import IntEnum, StrEnum
from typing import Final

from devices.protocol import Manifest, Offer, ProtocolError
from devices.simulator.flash import Flash, Region
from devices.simulator.records import RecordLog

REMEMBERED: Final = 8  # updates whose end is told again when they are offered again

_OFFER: Final = 1
_PROGRESS: Final = 2
_ENDED: Final = 3
_PROGRESS_FIELDS: Final = struct.Struct("<BBI")
_ENDED_FIELDS: Final = struct.Struct("<16sBB")


class Step(IntEnum):
    """How far an update is."""

    DOWNLOADING = 0
    DOWNLOADED = 1
    INSTALLING = 2


class Outcome(StrEnum):
    """How an update ended: the last part of the EVENT's kind."""

    CONFIRMED = "confirmed"
    REVERTED = "reverted"
    FAILED = "failed"
    WITHDRAWN = "withdrawn"


class Code(StrEnum):
    """Why, as docs/protocol.md lists it."""

    NONE = ""
    TYPE = "type"
    HARDWARE = "hardware"
    VERSION = "version"
    SIGNATURE = "signature"
    DIGEST = "digest"
    BASE = "base"
    SPACE = "space"
    FLASH = "flash"
    BATTERY = "battery"
    BUSY = "busy"
    DOWNLOAD = "download"
    SELF_TEST = "self_test"
    TIMEOUT = "timeout"
    POWER = "power"
    WITHDRAWN = "withdrawn"
    OTHER = "other"


_OUTCOMES: Final = tuple(Outcome)
_CODES: Final = tuple(Code)


@dataclass(frozen=True, slots=True)
class Job:
    """An update that was accepted. `offset` bytes of its payload are safe in flash; `tries` counts
    what went wrong at the present step.
    """

    offer: Offer
    manifest: Manifest
    step: Step = Step.DOWNLOADING
    offset: int = 0
    tries: int = 0


class JobStore:
    """The records of updates in a region of flash; `job` is the one under way."""

    def __init__(self, flash: Flash, region: Region) -> None:
        self._log = RecordLog(flash, region)
        self.job = self._read()

    def begin(self, offer: Offer, manifest: Manifest, offset: int = 0) -> Job:
        """Remember an update, of whose payload so many bytes are there already."""
        # The place first: an offer beside an older place would be believed.
        self._log.put(_PROGRESS, _PROGRESS_FIELDS.pack(Step.DOWNLOADING, 0, offset))
        self._log.put(_OFFER, offer.body())
        self.job = Job(offer, manifest, offset=offset)
        return self.job

    def advance(
        self,
        job: Job,
        *,
        step: Step | None = None,
        offset: int | None = None,
        tries: int | None = None,
    ) -> Job:
        """Remember how far an update is."""
        job = replace(
            job,
            step=job.step if step is None else step,
            offset=job.offset if offset is None else offset,
            tries=job.tries if tries is None else tries,
        )
        self._log.put(_PROGRESS, _PROGRESS_FIELDS.pack(job.step, job.tries, job.offset))
        self.job = job
        return job

    def end(self, job: Job, outcome: Outcome, code: Code) -> None:
        """Remember how an update ended, and nothing else of it."""
        entry = _ENDED_FIELDS.pack(
            job.offer.update_id, _OUTCOMES.index(outcome), _CODES.index(code)
        )
        kept = self._log.get(_ENDED) or b""
        size = _ENDED_FIELDS.size
        others = [kept[at : at + size] for at in range(0, len(kept), size)]
        others = [other for other in others if other[:16] != job.offer.update_id]
        self._log.put(_ENDED, b"".join([*others, entry][-REMEMBERED:]))
        self._log.put(_OFFER, b"")
        self.job = None

    def ended(self, update_id: bytes) -> tuple[Outcome, Code] | None:
        """How an update ended, None when it did not or was forgotten."""
        for found, outcome, code in _ENDED_FIELDS.iter_unpack(self._log.get(_ENDED) or b""):
            if found == update_id:
                return _OUTCOMES[outcome], _CODES[code]
        return None

    def _read(self) -> Job | None:
        body, progress = self._log.get(_OFFER), self._log.get(_PROGRESS)
        if not body or progress is None:
            return None
        try:
            offer = Offer.decode(body)
            manifest = Manifest.decode(offer.manifest)
        except ProtocolError:
            return None  # written by another firmware: the server offers it again
        step, tries, offset = _PROGRESS_FIELDS.unpack(progress)
        if self.ended(offer.update_id) is not None:
            return None  # the power failed while it was put away
        return Job(offer, manifest, Step(step), offset, tries)
