"""The firmware's part of an update: check the offer, download, put the image together, try it.

Without a link of its own: offers and chunks come in by calls, `next_fetch` says what to ask for,
`tell` takes what the server must learn (kind and entries of an EVENT). All that counts is kept in
flash before it counts, so that a power failure at any byte costs at most one sector of a download.
What an update came to is told again whenever the server offers it again.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping
from typing import Final

from devices.protocol import (
    Chunk,
    ChunkStatus,
    Fetch,
    Manifest,
    Offer,
    PayloadKind,
    Withdraw,
)
from devices.simulator.bootloader import Bootloader, Phase, Reason, SlotImage
from devices.simulator.checks import Facts, check, wrong_image
from devices.simulator.flash import SECTOR, Region
from devices.simulator.job import Code, Job, JobStore, Outcome, Step
from devices.simulator.patch import PatchError, apply_patch

log = logging.getLogger("wattline.device")

MAX_DOWNLOADS: Final = 2  # of a payload whose digest is not the one that was offered
PROGRESS_PARTS: Final = 4  # how often a download tells how far it is
_REVERTED: Final = {
    Reason.POWER: Code.POWER,
    Reason.SELF_TEST: Code.SELF_TEST,
    Reason.TIMEOUT: Code.TIMEOUT,
    Reason.WITHDRAWN: Code.WITHDRAWN,
    Reason.SIGNATURE: Code.FLASH,
}

Tell = Callable[[str, Mapping[str, int | str]], None]


class Updater:
    """One start of a firmware that can be updated; `running` is the image that was started.

    `ready`: an image waits for `install`, after which the device restarts. `testing`: this image
    is on trial, until `confirm` or `give_up`.
    """

    def __init__(
        self,
        *,
        bootloader: Bootloader,
        running: SlotImage,
        facts: Facts,
        tell: Tell,
    ) -> None:
        self.facts = facts
        self.ready = False
        self._boot = bootloader
        self._running = running
        self._image = running.sha256
        self._tell = tell
        self._store = JobStore(bootloader.flash, bootloader.layout.update)
        self._granted: bytes | None = None  # the update that this connection may fetch
        self._pending = bytearray()  # of a sector that is not complete
        self._asked = 0  # bytes of the FETCH under way

    @property
    def testing(self) -> bool:
        """Whether this image is on trial."""
        return self._boot.on_trial

    @property
    def installing(self) -> bool:
        """Whether the next start swaps an image in."""
        return self._boot.state.phase is Phase.REQUESTED

    @property
    def confirm_within_s(self) -> int:
        """How long this image may take to confirm itself; 0 when nobody said."""
        job = self._store.job
        return job.offer.confirm_within_s if job else 0

    def start(self) -> None:
        """At power-up: go on where the last start ended."""
        job, phase = self._store.job, self._boot.state.phase
        if phase is Phase.TESTING:
            return
        if job is not None and job.manifest.image_sha256 == self._image:
            self._end(job, Outcome.CONFIRMED)
        elif job is not None and phase is Phase.REVERTED:
            self._end(job, Outcome.REVERTED, _REVERTED[self._boot.state.reason])
        elif job is not None and phase is Phase.REFUSED:
            self._refused(job)
        elif job is not None:
            self._go_on(job)
        self._boot.acknowledge()

    # From the server

    def connected(self) -> None:
        """A new connection: nothing has been offered on it, and no chunk is under way."""
        self._granted = None
        self._forget_request()

    def take_offer(self, offer: Offer) -> None:
        """Take an update on, or say why not."""
        ended = self._store.ended(offer.update_id)
        if ended is not None:
            self._say(offer.update_id, ended[0], ended[1], "as told before")
            return
        job = self._store.job
        if job is not None and _same_update(job.offer, offer):
            if self._granted != offer.update_id:
                self._granted = offer.update_id
                self._say(offer.update_id, "accepted", entries=self._progress(job))
            return
        if job is not None and (self.testing or self.ready):
            detail = "another update is being installed"
            self._reject(offer, Code.BUSY, detail)
            return
        checked = check(offer, self.facts, self._boot, self._image)
        if not isinstance(checked, Manifest):
            self._reject(offer, *checked)
            return
        offset = 0
        if job is not None and job.offer.update_id != offer.update_id:
            # Another attempt at the same payload goes on where this one is.
            if _payload(job.offer) == _payload(offer):
                offset = job.offset
            self._end(job, Outcome.WITHDRAWN, Code.WITHDRAWN, "another update took its place")
        self._forget_request()
        job = self._store.begin(offer, checked, offset)
        if checked.image_sha256 == self._image:
            self._end(job, Outcome.CONFIRMED, detail="this image runs already")
            return
        self._granted = offer.update_id
        self._say(offer.update_id, "accepted", entries=self._progress(job))
        self._go_on(job)

    def next_fetch(self) -> Fetch | None:
        """What to ask for now; None while nothing is to be fetched or a chunk is under way."""
        job = self._store.job
        if job is None or job.step is not Step.DOWNLOADING or self._asked:
            return None
        if self._granted != job.offer.update_id:
            return None
        at = job.offset + len(self._pending)
        self._asked = min(job.offer.chunk, job.offer.payload_size - at)
        return Fetch(job.offer.update_id, at, self._asked)

    def ask_again(self) -> None:
        """The chunk that was asked for did not come."""
        self._asked = 0

    def hold(self) -> None:
        """Ask for nothing until `ask_again`."""
        self._asked = max(1, self._asked)

    def take_chunk(self, chunk: Chunk) -> int | None:
        """Keep a part of the payload. Returns after how many seconds to ask on; None: the chunk is
        no answer to what was asked for last, or nothing more is to be asked.
        """
        job = self._store.job
        if job is None or chunk.update_id != job.offer.update_id or not self._asked:
            return None
        if chunk.status == ChunkStatus.GONE:
            self._asked = 0
            self._granted = None  # until it is offered anew
            return None
        # What was asked for twice is answered twice.
        if chunk.offset != job.offset + len(self._pending):
            return None
        asked, self._asked = self._asked, 0
        if chunk.status == ChunkStatus.NOT_NOW:
            return max(1, chunk.retry_after_s)
        if chunk.status != ChunkStatus.DATA:
            self._end(job, Outcome.FAILED, Code.DOWNLOAD, f"the server says: {chunk.name}")
            return None
        if not 0 < len(chunk.data) <= asked:
            return 1
        self._pending += chunk.data
        self._keep(job)
        return 0

    def take_withdrawal(self, withdraw: Withdraw) -> None:
        """Give an update up, unless its image runs already, or with the next start."""
        job = self._store.job
        if job is None or job.offer.update_id != withdraw.update_id:
            ended = self._store.ended(withdraw.update_id) or (Outcome.WITHDRAWN, Code.WITHDRAWN)
            self._say(withdraw.update_id, *ended)
        elif not self.testing and not self.installing:
            self._end(job, Outcome.WITHDRAWN, Code.WITHDRAWN, withdraw.text)

    # From the device

    def install(self) -> None:
        """Ask the bootloader to start the image that waits; the caller restarts the device."""
        job = self._store.job
        if job is None or not self.ready:
            return
        self._say(job.offer.update_id, "installing", entries={"version": job.manifest.version})
        self._store.advance(job, step=Step.INSTALLING)
        self._boot.request(job.manifest.image_size)

    def pretend(self) -> None:
        """Say that the image was installed and do nothing: a firmware that lies."""
        job = self._store.job
        if job is not None:
            self._end(
                job,
                Outcome.CONFIRMED,
                entries={
                    "version": job.manifest.version,
                    "image": job.manifest.image_sha256.hex(),
                },
            )

    def confirm(self) -> None:
        """The self-test has passed: keep this image."""
        self._boot.confirm()
        job = self._store.job
        if job is not None:
            self._end(job, Outcome.CONFIRMED)

    def give_up(self, reason: Reason) -> None:
        """This image is no good: after the restart that the caller makes the other one runs."""
        self._boot.give_up(reason)

    # Inside

    def _go_on(self, job: Job) -> None:
        """Do what can be done without the server."""
        if job.step is Step.DOWNLOADING:
            if job.offset >= job.offer.payload_size:
                self._finish_download(job)
        else:
            self.ready = self._prepare(job)

    def _keep(self, job: Job) -> None:
        """Write what is complete: whole sectors, and the end of the payload."""
        size = job.offer.payload_size
        offset = job.offset
        while len(self._pending) >= SECTOR or (
            self._pending and offset + len(self._pending) >= size
        ):
            part = bytes(self._pending[:SECTOR])
            at = self._target(job).start + offset
            self._boot.flash.write(at, part)
            if self._boot.flash.read(at, len(part)) != part:
                self._end(job, Outcome.FAILED, Code.FLASH, f"sector {at // SECTOR} is worn out")
                return
            del self._pending[: len(part)]
            before, offset = offset, offset + len(part)
            job = self._store.advance(job, offset=offset)
            if before * PROGRESS_PARTS // size != offset * PROGRESS_PARTS // size < PROGRESS_PARTS:
                self._say(job.offer.update_id, "progress", entries=self._progress(job))
        if offset >= size:
            self._finish_download(job)

    def _finish_download(self, job: Job) -> None:
        """Check the payload as a whole, and make the image of it."""
        payload = self._boot.flash.read(self._target(job).start, job.offer.payload_size)
        if hashlib.sha256(payload).digest() != job.offer.payload_sha256:
            if job.tries + 1 < MAX_DOWNLOADS:
                self._store.advance(job, offset=0, tries=job.tries + 1)
            else:
                self._end(job, Outcome.FAILED, Code.DIGEST, "what came is not what was offered")
            return
        if job.offer.payload_kind == PayloadKind.DELTA and not self._apply(job, payload):
            return
        self._say(job.offer.update_id, "downloaded", entries=self._progress(job))
        job = self._store.advance(job, step=Step.DOWNLOADED, tries=0)
        self.ready = self._prepare(job)

    def _apply(self, job: Job, patch: bytes) -> bool:
        """Make the image of a patch and the image that runs; whether it is in the slot. Repeated
        after a power failure.
        """
        try:
            image = apply_patch(self._running.data, patch, limit=job.manifest.image_size)
        except PatchError as error:
            self._end(job, Outcome.FAILED, Code.DIGEST, str(error))
            return False
        if hashlib.sha256(image).digest() != job.manifest.image_sha256:
            detail = "the patch makes another image than the one that was signed"
            self._end(job, Outcome.FAILED, Code.DIGEST, detail)
            return False
        flash, start = self._boot.flash, self._boot.layout.secondary.start
        for offset in range(0, len(image), SECTOR):
            part = image[offset : offset + SECTOR]
            flash.write(start + offset, part)
            if flash.read(start + offset, len(part)) != part:
                detail = f"sector {(start + offset) // SECTOR} is worn out"
                self._end(job, Outcome.FAILED, Code.FLASH, detail)
                return False
        return True

    def _prepare(self, job: Job) -> bool:
        """Check the image in the secondary slot as the bootloader will; whether it may start."""
        boot, manifest = self._boot, job.manifest
        secondary = boot.layout.secondary
        image = boot.flash.read(secondary.start, manifest.image_size)
        if hashlib.sha256(image).digest() != manifest.image_sha256:
            detail = "the memory does not hold the image that was written"
            self._end(job, Outcome.FAILED, Code.FLASH, detail)
            return False
        wrong = wrong_image(image, manifest)
        if wrong is not None:
            self._end(job, Outcome.FAILED, *wrong)
            return False
        boot.write_credential(
            secondary, manifest.image_size, job.offer.manifest, job.offer.signature
        )
        if boot.image_in(secondary) is None:
            self._end(job, Outcome.FAILED, Code.FLASH, "the memory does not keep the manifest")
            return False
        return True

    def _refused(self, job: Job) -> None:
        code = Code.SIGNATURE if self._boot.state.reason is Reason.SIGNATURE else Code.FLASH
        self._end(job, Outcome.FAILED, code, "the bootloader refused the image")

    def _target(self, job: Job) -> Region:
        layout = self._boot.layout
        return layout.patch if job.offer.payload_kind == PayloadKind.DELTA else layout.secondary

    def _forget_request(self) -> None:
        self._asked = 0
        self._pending.clear()

    def _reject(self, offer: Offer, code: Code, detail: str) -> None:
        self._say(offer.update_id, "rejected", code, detail)

    def _end(
        self,
        job: Job,
        outcome: Outcome,
        code: Code = Code.NONE,
        detail: str = "",
        entries: Mapping[str, int | str] | None = None,
    ) -> None:
        """Tell what an update came to, then remember it: told twice is no harm, never is."""
        self.ready = False
        self._forget_request()
        self._say(job.offer.update_id, outcome, code, detail, entries)
        self._store.end(job, outcome, code)

    def _progress(self, job: Job) -> dict[str, int | str]:
        return {"offset": job.offset, "size": job.offer.payload_size}

    def _say(
        self,
        update_id: bytes,
        kind: str,
        code: str = Code.NONE,
        detail: str = "",
        entries: Mapping[str, int | str] | None = None,
    ) -> None:
        said: dict[str, int | str] = {"update": update_id.hex()}
        said |= {"version": self.facts.version, "image": self._image.hex(), **(entries or {})}
        if code:
            said["code"] = str(code)
        if detail:
            said["detail"] = detail
        self._tell(f"firmware.{kind}", said)


def _payload(offer: Offer) -> tuple[int, bytes]:
    return offer.payload_kind, offer.payload_sha256


def _same_update(offer: Offer, other: Offer) -> bool:
    """Whether it is an offer of the same payload again, not another one under the same id."""
    return offer.update_id == other.update_id and _payload(offer) == _payload(other)
