"""A device that asks for its updates over HTTP alone, by hawkBit's DDI interface.

It is what a small client looks like: ask, describe itself, download with ranges, check, install,
restart, tell. DDI sends no manifest, so a download is believed by the SHA-256 that was told for it
and, where it is a MCUboot image, by the digest that the image names itself. What has to outlive a
loss of power (the part of a download, what runs, the end of an update that was not told yet) lies
in files.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import requests

from devices.simulator import keyring
from devices.simulator.faults import NO_UPDATE_FAULTS, UpdateFaults
from devices.simulator.image import ImageError, read_image

log = logging.getLogger("wattline.device")

MEMORY: Final = "http.json"
RUNNING: Final = "firmware.bin"
PART: Final = "download.part"
TIMEOUT_S: Final = (5.0, 15.0)  # to connect, and between two bytes
AGAIN_S: Final = 1.0  # after something was done there may be more to do
LONGEST_PAUSE_S: Final = 60.0  # between two tries while the server cannot be reached
MAX_DOWNLOADS: Final = 2  # of a file whose digest is not the one that was told
_PIECE: Final = 16 * 1024
_OVER: Final = (404, 410)  # nothing more is heard of an update


class DdiAnswerError(Exception):
    """The server answered something that is no DDI; the message says what."""


class _FailedError(Exception):
    """The update has failed; the message is the line of log that is told."""


@dataclass(frozen=True, slots=True)
class HttpProfile:
    """Who a device is. `address`: `https://host/{tenant}/controller/v1/{serial}`; `token`: the
    target token that was issued for it; `firmware`: the version that it left the factory with.
    """

    address: str
    token: str = field(repr=False)
    device_type: str = ""
    hardware: str = "simulated rev A"
    firmware: str = "1.0.0"

    @property
    def serial(self) -> str:
        """The last part of the address."""
        return self.address.rstrip("/").rpartition("/")[2]


@dataclass(slots=True)
class _Memory:
    """What outlives a restart. `owed`: an update whose success was not told yet, 0: none."""

    firmware: str
    owed: int = 0


class HttpDevice:
    """Asks by `poll`; between two calls it may lose its power.

    Of `faults`, it knows all but power cuts and what a firmware does once it runs, except that it
    finds itself unsound. `silent`: it has not come back from a restart.
    """

    def __init__(
        self, profile: HttpProfile, folder: Path, faults: UpdateFaults = NO_UPDATE_FAULTS
    ) -> None:
        self.profile = profile
        self.silent = False
        self._folder = folder
        self._faults = faults
        self._session = requests.Session()
        # Neither credentials nor proxies of the machine are the device's.
        self._session.trust_env = False
        self._session.headers["Authorization"] = f"TargetToken {profile.token}"
        known = keyring.load(folder / MEMORY)
        self._memory = _Memory(
            str(known.get("firmware", profile.firmware)), int(known.get("owed", 0))
        )

    @property
    def firmware(self) -> str:
        """The version that runs."""
        return self._memory.firmware

    async def run(self, stop: asyncio.Event) -> None:
        """Ask as often as the server wants, until `stop` is set."""
        failures = 0
        while not stop.is_set() and not self.silent:
            try:
                pause_s = await asyncio.to_thread(self.poll)
                failures = 0
            except (requests.RequestException, DdiAnswerError) as error:
                pause_s = min(LONGEST_PAUSE_S, 2.0**failures)
                failures += 1
                log.debug("%s: %s", self.profile.serial, error)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), pause_s)

    def poll(self) -> float:
        """Ask once and do what there is to do; returns after how many seconds to ask again.

        Raises requests.RequestException when the link breaks, and DdiAnswerError.
        """
        self._tell_owed()
        base = self._get(self.profile.address)
        links = {name: str(link["href"]) for name, link in base.get("_links", {}).items()}
        if address := links.get("configData"):
            self._describe(address)
        if address := links.get("cancelAction"):
            self._stop(address)
        elif address := links.get("confirmationBase"):
            self._agree(address)
        elif (address := links.get("deploymentBase")) and not self._faults.deaf:
            self._update(address)
        else:
            return _seconds(base)
        return AGAIN_S

    # What the server wants

    def _describe(self, address: str) -> None:
        data = {
            "serial": self.profile.serial,
            "device_type": self.profile.device_type,
            "hardware_revision": self.profile.hardware,
            "firmware_version": self._memory.firmware,
        }
        self._send("PUT", address, {"mode": "merge", "data": data})

    def _stop(self, address: str) -> None:
        """Nothing goes on between two calls of `poll`, so that stopping is forgetting."""
        action = _number(self._get(address).get("cancelAction", {}).get("stopId"), address)
        (self._folder / PART).unlink(missing_ok=True)
        self._tell(action, "closed", "success", of="cancelAction")

    def _agree(self, address: str) -> None:
        """Nobody is there to be asked: it agrees."""
        action = _number(self._get(address).get("id"), address)
        told = {"confirmation": "confirmed", "details": ["agreed by itself"]}
        self._send("POST", self._feedback("confirmationBase", action), told)

    def _update(self, address: str) -> None:
        told = self._get(address)
        action = _number(told.get("id"), address)
        try:
            chunk = told["deployment"]["chunks"][0]
            file, version = chunk["artifacts"][0], str(chunk["version"])
            name, size = str(file["filename"]), int(file["size"])
            sha256 = str(file["hashes"]["sha256"])
            links = file["_links"]
            where = str((links.get("download") or links["download-http"])["href"])
        except (LookupError, TypeError, ValueError) as error:
            raise DdiAnswerError(f"{address} describes no file: {error!r}") from error
        try:
            self._tell(action, "proceeding", details=(f"downloading {name}, {size} bytes",))
            image = self._downloaded(where, size, sha256)
            self._tell(action, "downloaded", details=(f"{name} has the SHA-256 {sha256}",))
            self._install(action, image, version)
        except _FailedError as error:
            self._tell(action, "closed", "failure", details=(f"ERROR: {error}",))

    # An update

    def _downloaded(self, where: str, size: int, sha256: str) -> bytes:
        """The file, whose parts are kept over breaks; raises _FailedError."""
        part = self._folder / PART
        for _ in range(MAX_DOWNLOADS):
            self._download(where, size, sha256)
            content = part.read_bytes()
            part.unlink()
            if self._faults.tampers:
                content = bytes((content[0] ^ 0x01,)) + content[1:]
            if hashlib.sha256(content).hexdigest() == sha256:
                return content
        raise _FailedError(f"what came has not the digest {sha256}, {MAX_DOWNLOADS} times")

    def _download(self, where: str, size: int, sha256: str) -> None:
        part = self._folder / PART
        self._folder.mkdir(parents=True, exist_ok=True)
        part.touch()
        if (have := part.stat().st_size) >= size:
            return
        headers = {"Range": f"bytes={have}-", "If-Range": f'"{sha256}"'} if have else {}
        with self._session.get(where, headers=headers, stream=True, timeout=TIMEOUT_S) as answer:
            answer.raise_for_status()
            # 200: what there is of another file is of no use.
            with part.open("ab" if answer.status_code == 206 else "wb") as file:
                for piece in answer.iter_content(_PIECE):
                    if file.tell() + len(piece) > size:
                        raise _FailedError(f"the download is longer than {size} bytes")
                    file.write(piece)
                    file.flush()
                    if self._faults.bytes_per_s:
                        time.sleep(len(piece) / self._faults.bytes_per_s)

    def _install(self, action: int, image: bytes, version: str) -> None:
        """Install, restart, and tell; raises _FailedError."""
        try:
            read_image(image)
        except ImageError as error:
            raise _FailedError(f"corrupt image: {error}") from error
        progress = {"cnt": 1, "of": 1}
        self._tell(action, "proceeding", details=("restarting into it",), progress=progress)
        if self._faults.bad_flash:
            raise _FailedError("a sector of the flash does not keep what was written")
        if self._faults.after is not None and not self._faults.after.self_test:
            raise _FailedError(f"the self-test found {version} unsound; {self.firmware} runs again")
        if self._faults.never_returns:
            self.silent = True
            return
        if not self._faults.lies:
            draft = self._folder / f"{RUNNING}.new"
            draft.write_bytes(image)
            draft.replace(self._folder / RUNNING)
            self._memory.firmware = version
        # Kept before it is told: a loss of power between the two must not lose it.
        self._memory.owed = action
        self._keep()
        self._tell_owed()

    def _tell_owed(self) -> None:
        if action := self._memory.owed:
            details = (f"firmware {self._memory.firmware} runs",)
            self._tell(action, "closed", "success", details=details)
            self._memory.owed = 0
            self._keep()

    def _keep(self) -> None:
        keyring.save(self._folder / MEMORY, asdict(self._memory))

    # The link

    def _feedback(self, of: str, action: int) -> str:
        return f"{self.profile.address}/{of}/{action}/feedback"

    def _tell(
        self,
        action: int,
        execution: str,
        finished: str = "none",
        *,
        details: tuple[str, ...] = (),
        progress: dict[str, int] | None = None,
        of: str = "deploymentBase",
    ) -> None:
        result: dict[str, Any] = {"finished": finished}
        if progress is not None:
            result["progress"] = progress
        status = {"execution": execution, "result": result, "details": list(details)}
        self._send("POST", self._feedback(of, action), {"id": str(action), "status": status})

    def _send(self, method: str, address: str, body: dict[str, Any]) -> None:
        answer = self._session.request(method, address, json=body, timeout=TIMEOUT_S)
        if answer.status_code not in _OVER:
            answer.raise_for_status()

    def _get(self, address: str) -> dict[str, Any]:
        answer = self._session.get(
            address, headers={"Accept": "application/json"}, timeout=TIMEOUT_S
        )
        answer.raise_for_status()
        try:
            found = answer.json()
        except ValueError as error:
            raise DdiAnswerError(f"{address} is no JSON: {error}") from error
        if not isinstance(found, dict):
            raise DdiAnswerError(f"{address} is no JSON object")
        return found


def _number(value: object, address: str) -> int:
    try:
        return int(str(value))
    except ValueError:
        raise DdiAnswerError(f"{address} names no action: {value!r}") from None


def _seconds(base: dict[str, Any]) -> float:
    """The pause that the server wants, from HH:MM:SS."""
    try:
        hours, minutes, seconds = map(int, base["config"]["polling"]["sleep"].split(":"))
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise DdiAnswerError(f"no polling interval: {error!r}") from error
    return float(hours * 3600 + minutes * 60 + seconds)
