"""Images for tests: real MCUboot images by imgtool, and archives of SWUpdate's form."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

# Of imgtool: the vector table of a Cortex-M with many interrupts.
HEADER = 0x200


def mcuboot(folder: Path, version: str = "1.4.0", *options: str, body: bytes = b"") -> bytes:
    """An image that imgtool has made, without a signature for the boot loader unless asked."""
    source, made = folder / "app.bin", folder / "app.img"
    source.write_bytes(body or bytes(range(256)) * 20)
    arguments = ["--version", version, "--header-size", hex(HEADER), "--pad-header"]
    arguments += ["--align", "4", "--slot-size", "0x40000", *options, str(source), str(made)]
    # The package's own entry, without a script on the path.
    program = "import sys; from imgtool.main import imgtool; imgtool()"
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program, "sign", *arguments],
        check=True,
        capture_output=True,
    )
    return made.read_bytes()


def swu(*members: tuple[str, bytes], sums: bool = True) -> bytes:
    """A cpio archive of the form `crc`, or `newc` without sums."""
    parts = []
    for number, (name, data) in enumerate((*members, ("TRAILER!!!", b""))):
        fields = [number, 0o100644, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1]
        fields.append(sum(data) & 0xFFFFFFFF if sums else 0)
        head = b"070702" if sums else b"070701"
        head += b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
        parts.append(head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4))
    return b"".join(parts)
