"""A real SWUpdate updates over the DDI interface: Debian's package, in suricatta mode."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from django.conf import settings as configured
from django.core.files.storage import storages
from pytest_django import DjangoDbBlocker, Settings

from devices.tests import factories
from firmware.artifacts import places, store
from firmware.domain import ddi_keys
from firmware.models import DdiTarget, RolloutTarget, TargetState
from firmware.models.ddi import LEAST_POLLING_S
from firmware.tests import swu
from portal.devstack.process import free_port
from portal.tests.ddi_world import Ddi, offered, speaking, state_of
from tenants.scope import open_scope

SWUPDATE = shutil.which("swupdate")
pytestmark = pytest.mark.skipif(
    SWUPDATE is None, reason="SWUpdate is not installed here: apt-get install swupdate"
)

_READY_S = 40
_UPDATED_S = 60
_NOBODY = 65_534
_BOARD = "meter"
_REVISION = "1.0"
_ENDS = {"retry", "failed"}


@dataclass
class Bench:
    """A web process, and a folder in which devices run that are nobody."""

    port: int
    folder: Path
    signer: swu.Signer


@pytest.fixture(scope="module")
def bench(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[Bench]:
    """uvicorn on the test's database."""
    port = free_port()
    # Not pytest's folder: an account without any rights has to get there.
    with tempfile.TemporaryDirectory(prefix="swupdate-") as name, django_db_blocker.unblock():
        folder = Path(name)
        folder.chmod(0o711)
        process = _web(port, folder)
        try:
            _until(lambda: _listens(port), _READY_S, folder / "web.log")
            yield Bench(port, folder, swu.Signer.make())
        finally:
            process.terminate()
            process.wait(20)
            factories.remove_everything()


@pytest.fixture(autouse=True)
def same_store(bench: Bench, settings: Settings) -> None:
    """The test keeps its artifacts where the web process reads them."""
    kept = places.in_folder(bench.folder / "store")
    settings.STORAGES = {**settings.STORAGES, "firmware": kept}


def _web(port: int, folder: Path) -> subprocess.Popen[bytes]:
    uvicorn = ("uvicorn", "portal.asgi:application", "--port", str(port), "--lifespan", "off")
    with (folder / "web.log").open("wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", *uvicorn, "--log-level", "warning"],
            cwd=configured.BASE_DIR,
            env={
                **os.environ,
                "DJANGO_SETTINGS_MODULE": "portal.tests.plain_settings",
                "WATTLINE_TEST_FIRMWARE": str(folder / "store"),
            },
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _until(done: Callable[[], bool], seconds: float, log: Path) -> None:
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, log.read_text(errors="replace")[-6_000:]
        time.sleep(0.2)


class Device:
    """An SWUpdate of its own: what it installs, and what it says of itself."""

    def __init__(self, bench: Bench, ddi: Ddi) -> None:
        self._bench, self._ddi = bench, ddi
        self.folder = bench.folder / ddi.device.serial
        (self.folder / "tmp").mkdir(parents=True)
        self.installed = self.folder / "firmware.bin"
        self.log = self.folder / "swupdate.log"
        (self.folder / "key.pem").write_bytes(bench.signer.certificate)
        (self.folder / "swupdate.cfg").write_text(
            "globals : { verbose = true; };\n"
            'identify : ( { name = "serial"; value = "'
            f'{ddi.device.serial}"; }}, {{ name = "hw"; value = "{_REVISION}"; }} );\n'
        )
        if os.geteuid() == 0:
            for path in (self.folder, *self.folder.iterdir()):
                os.chown(path, _NOBODY, _NOBODY)

    def run(self, *more: str) -> subprocess.Popen[bytes]:
        """Begin to ask every second."""
        assert SWUPDATE is not None
        suricatta = (
            f"-t {self._ddi.tenant.slug} -i {self._ddi.device.serial} -p 1"
            f" -u http://127.0.0.1:{self._bench.port} -k {self._ddi.token} {' '.join(more)}"
        )
        with self.log.open("ab") as output:
            return subprocess.Popen(
                [
                    *(SWUPDATE, "-v", "-f", "swupdate.cfg", "-k", "key.pem"),
                    *("-H", f"{_BOARD}:{_REVISION}", "-u", suricatta),
                ],
                cwd=self.folder,
                env={"PATH": os.environ["PATH"], "TMPDIR": str(self.folder / "tmp")},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                user=_NOBODY if os.geteuid() == 0 else None,
                start_new_session=True,
            )

    def until(self, done: Callable[[], bool], *more: str) -> None:
        """Run until something is so, then stop."""
        process = self.run(*more)
        try:
            _until(done, _UPDATED_S, self.log)
        finally:
            _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End SWUpdate and the children that it has."""
    os.killpg(process.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(10)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(10)


def _speaking() -> Ddi:
    """A device that is told to ask often; SWUpdate takes the server's interval over its own."""
    ddi = speaking()
    values = {"polling_s": LEAST_POLLING_S, "busy_polling_s": LEAST_POLLING_S}
    with open_scope(ddi.scope):
        ddi_keys.change_settings(tenant_id=ddi.tenant.pk, values=values, actor_id=None)
    return ddi


def _image(bench: Bench, device: Device, content: bytes, *, script: str = "") -> bytes:
    return swu.image(
        bench.signer,
        version="1.1.0",
        hardware=_REVISION,
        content=content,
        path=str(device.installed),
        script=script,
    )


def _kinds(ddi: Ddi, target: RolloutTarget) -> list[str]:
    return [kind for kind, _, _ in ddi.events(target)]


CONTENT = os.urandom(200_000)


def test_swupdate_installs_restarts_and_confirms(bench: Bench) -> None:
    ddi = _speaking()
    device = Device(bench, ddi)
    target = offered(ddi, _image(bench, device, CONTENT), form="swu")

    device.until(lambda: "installing" in _kinds(ddi, target))
    assert device.installed.read_bytes() == CONTENT
    assert state_of(ddi, target) == TargetState.INSTALLING

    # As after the reboot into what was installed, whose self-test has passed.
    device.until(lambda: "succeeded" in _kinds(ddi, target), "-c", "2")
    assert state_of(ddi, target) == TargetState.SUCCEEDED
    assert list(dict.fromkeys(_kinds(ddi, target))) == ["accepted", "installing", "succeeded"]
    with open_scope(ddi.scope):
        known = DdiTarget.objects.get(device=ddi.device)
    assert known.attributes == {"serial": ddi.device.serial, "hw": _REVISION}


@pytest.mark.parametrize(
    ("fault", "code", "line"),
    [
        ("script", "flash", "preinstall"),
        ("tampered", "digest", "HASH mismatch"),
        ("signer", "signature", "Authentication of all signatures failed"),
    ],
)
def test_swupdate_tells_why_it_failed(bench: Bench, fault: str, code: str, line: str) -> None:
    ddi = _speaking()
    device = Device(bench, ddi)
    signed = bench if fault != "signer" else Bench(0, bench.folder, swu.Signer.make())
    script = "#!/bin/sh\nexit 1\n" if fault == "script" else ""
    target = offered(ddi, _image(signed, device, CONTENT, script=script), form="swu")
    if fault == "tampered":
        _tamper(target)

    # Whether it tries again is for the roll-out's strategy to say.
    device.until(lambda: not _ENDS.isdisjoint(_kinds(ddi, target)))
    told = [(code, lines) for kind, code, lines in ddi.events(target) if kind in _ENDS]
    assert [code for code, _lines in told] == [code]
    assert line in told[0][1]
    assert not device.installed.exists()


def _tamper(target: RolloutTarget) -> None:
    """One bit of the file in the store is another."""
    path = Path(storages[store.ALIAS].path(store.name_of(target.payload_sha256)))
    data = bytearray(path.read_bytes())
    data[data.index(CONTENT[:64]) + 100_000] ^= 1
    path.chmod(0o600)
    path.write_bytes(data)
