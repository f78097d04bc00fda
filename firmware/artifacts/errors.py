"""What can be wrong with a file."""

from __future__ import annotations


class ArtifactError(ValueError):
    """A file is not what it should be.

    `code` is stable (`header`, `digest`, `size`, `private_key` …), the message a sentence for the
    person who brought the file.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
