"""Commands that a device remembers over a reboot, so that none is carried out twice."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Final

from devices.protocol import ResultStatus

# As docs/protocol.md says, section 11: the server has one command of a device under way.
MAX_REMEMBERED: Final = 32


class CommandJournal:
    """The last commands by id, with what became of them; a small file, replaced as a whole."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "commands.json"
        self._results: dict[str, tuple[int, str]] = {}
        try:
            text = self._path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return
        try:
            entries = json.loads(text)
            self._results = {
                str(command_id): (int(status), str(detail))
                for command_id, (status, detail) in entries.items()
            }
        except (ValueError, AttributeError, TypeError):
            # A damaged medium: the commands are forgotten, which a device cannot undo.
            self._path.unlink()

    def find(self, command_id: bytes) -> tuple[ResultStatus, str] | None:
        """Status and detail of a command that was received before."""
        found = self._results.get(command_id.hex())
        return (ResultStatus(found[0]), found[1]) if found else None

    def remember(self, command_id: bytes, status: ResultStatus, detail: str) -> None:
        """Keep what became of a command; call this before it takes effect."""
        self._results.pop(command_id.hex(), None)
        self._results[command_id.hex()] = (int(status), detail)
        for old in list(self._results)[:-MAX_REMEMBERED]:
            del self._results[old]
        draft = self._path.with_suffix(".new")
        draft.write_text(json.dumps(self._results), encoding="utf-8")
        os.replace(draft, self._path)  # noqa: PTH105 (the atomic rename is the point)

    def accepted(self) -> list[tuple[bytes, str]]:
        """Commands that were accepted and have not been finished, with their detail."""
        return [
            (bytes.fromhex(command_id), detail)
            for command_id, (status, detail) in self._results.items()
            if status == ResultStatus.ACCEPTED
        ]
