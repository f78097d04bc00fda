"""Patches between images, by detools (https://detools.readthedocs.io).

*Sequential* patches, compressed by heatshrink. A device reads the image that runs in one slot and
the patch in order, and writes the new image into the other slot: the image that runs stays whole
until the new one is confirmed, so that a loss of power at any byte costs nothing but time. In-place
patches would save the second slot and overwrite the only image that is known to run. Heatshrink
because its decoder needs some hundred bytes of memory, where that of LZMA needs many kilobytes.

bsdiff takes about 20 bytes of memory for each byte of an image, and its time has no useful bound:
it runs in a process of its own with limits, and what exceeds them is no patch.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

# Of an image: more has nobody who needs patches (a microcontroller's flash), and see above.
MOST_BYTES: Final = 16 * 1024 * 1024
MEMORY_BYTES: Final = 1024 * 1024 * 1024
CPU_S: Final = 180
# A machine that is busy with other things may take longer than the processor time alone.
WAIT_S: Final = 600

PATCH_TYPE: Final = "sequential"
COMPRESSION: Final = "heatshrink"
_ROOT: Final = Path(__file__).resolve().parents[2]


class DeltaError(Exception):
    """There is no patch; the message is a sentence that says why."""


def available() -> bool:
    """Whether patches can be made here: detools has to be compiled when it is installed."""
    return importlib.util.find_spec("detools") is not None


def make(base: bytes, target: bytes) -> bytes:
    """A patch that makes `target` out of `base`; it has been applied, and did. Raises DeltaError.

    Takes seconds for a megabyte, in another process with a bound of memory and time.
    """
    if not available():
        raise DeltaError(
            "The package detools is not installed here: it needs a C compiler. Whole images are"
            " sent instead."
        )
    if max(len(base), len(target)) > MOST_BYTES:
        raise DeltaError(f"Patches are made between images of at most {MOST_BYTES >> 20} MiB.")
    with tempfile.TemporaryDirectory(prefix="wattline-delta-") as name:
        folder = Path(name)
        (folder / "base").write_bytes(base)
        (folder / "target").write_bytes(target)
        _run(folder)
        return (folder / "patch").read_bytes()


def _run(folder: Path) -> None:
    try:
        done = subprocess.run(
            [sys.executable, "-m", "firmware.artifacts.delta_process", str(folder)],
            cwd=_ROOT,
            # Nothing of ours: the process needs no secret.
            env={"PATH": os.environ.get("PATH", ""), "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=WAIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise DeltaError(f"The patch was not made within {WAIT_S} s.") from None
    if done.returncode:
        told = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise DeltaError(f"The patch could not be made: {told[0][:200]}")
