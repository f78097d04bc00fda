"""`python -m firmware.artifacts.delta_process FOLDER`: makes the patch in a folder, and tries it.

FOLDER/patch makes FOLDER/target out of FOLDER/base; exit code 0 says that it did. See `deltas`.
"""

from __future__ import annotations

import io
import resource
import sys
from pathlib import Path

import detools

from firmware.artifacts.deltas import COMPRESSION, CPU_S, MEMORY_BYTES, PATCH_TYPE


def main(folder: Path) -> str:
    """Nothing when the patch is there, else what went wrong."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    base, target = (folder / "base").read_bytes(), (folder / "target").read_bytes()
    try:
        patch = made(base, target)
        if applied(base, patch) != target:
            return "applied, it makes something else"
    except (detools.Error, MemoryError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    (folder / "patch").write_bytes(patch)
    return ""


def made(base: bytes, target: bytes) -> bytes:
    """The patch, not yet tried."""
    patch = io.BytesIO()
    detools.create_patch(
        io.BytesIO(base),
        io.BytesIO(target),
        patch,
        compression=COMPRESSION,
        patch_type=PATCH_TYPE,
        use_mmap=False,
    )
    return patch.getvalue()


def applied(base: bytes, patch: bytes) -> bytes:
    """What a device makes of it."""
    target = io.BytesIO()
    detools.apply_patch(io.BytesIO(base), io.BytesIO(patch), target)
    return target.getvalue()


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])) or None)
