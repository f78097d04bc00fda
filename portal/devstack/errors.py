"""What goes wrong while a copy is set up."""

from __future__ import annotations


class SetupError(Exception):
    """The set-up cannot go on; the message is one sentence that says what is wrong and what to
    do."""
