"""The folder in which artifacts lie where no other storage is set."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from django.core.files.base import File
from django.core.files.storage import FileSystemStorage
from django.utils.crypto import get_random_string

_PIECE: Final = 1 << 16


class FolderStorage(FileSystemStorage):
    """Files appear whole or not at all, and keep the name that they were given.

    Django's own folder storage writes in place: a process that is killed would leave half a file
    under a name that promises its content.
    """

    def get_available_name(self, name: str, max_length: int | None = None) -> str:
        """The name itself: it says what the file contains."""
        del max_length
        return name

    def _save(self, name: str, content: File[Any]) -> str:
        """Write beside the file, have the disk keep it, then give it its name."""
        path = Path(self.path(name))
        _make_folder(path.parent)
        beside = path.with_name(f".{path.name}.{get_random_string(8)}")
        try:
            with beside.open("xb") as file:
                for piece in content.chunks(_PIECE):
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
        _sync_folder(path.parent)
        return name

    def sweep_unfinished(self, before: datetime) -> int:
        """Remove what writers that were killed have left, last written before an instant."""
        left = [
            path
            for path in Path(self.location).glob("*/.*.*")
            if path.is_file() and path.stat().st_mtime < before.timestamp()
        ]
        for path in left:
            path.unlink(missing_ok=True)
        return len(left)


def _make_folder(folder: Path) -> None:
    """Make a folder and those that it lies in, each kept by the disk."""
    missing = [one for one in (folder, *folder.parents) if not one.exists()]
    for one in reversed(missing):
        one.mkdir(exist_ok=True)
        _sync_folder(one.parent)


def _sync_folder(folder: Path) -> None:
    """A new name is kept by the disk once its folder is."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
