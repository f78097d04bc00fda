"""Patches between images, as `detools` makes them (sequential, so that a small device can too)."""

from __future__ import annotations

import io

try:
    import detools
except ImportError:  # it has to be compiled (requirements-compiled.txt)
    detools = None


class PatchError(Exception):
    """A patch does not lead from this image to the other; the message says why."""


def apply_patch(base: bytes, patch: bytes, *, limit: int) -> bytes:
    """The image that a patch makes of `base`, of at most `limit` bytes; raises PatchError."""
    if detools is None:
        raise PatchError("this device cannot apply patches: detools is not installed")
    made = io.BytesIO()
    try:
        detools.apply_patch(io.BytesIO(base), io.BytesIO(patch), made)
    except (detools.Error, ValueError, EOFError, OSError) as error:
        raise PatchError(f"the patch cannot be applied: {error}") from error
    if made.tell() > limit:
        raise PatchError(f"the patch makes {made.tell()} bytes, {limit} were announced")
    return made.getvalue()
