"""What does not go into the log: links that were sent to one person alone, and where in the code a
request was refused.
"""

from __future__ import annotations

import logging
import re
from typing import Final

# The address of such a page ends in its secret, and Django logs the addresses of refused requests.
_LINK: Final = re.compile(
    r"(/(?:claim|invitations/accept|account/email|accounts/password/[^/\s]+)/)[^/\s]+"
)


class LinksHidden(logging.Filter):
    """Replaces the secret part of such addresses in the arguments of a record."""

    def filter(self, record: logging.LogRecord) -> bool:
        """True: every record goes on."""
        if isinstance(record.args, tuple):
            record.args = tuple(
                _LINK.sub(r"\1…", value) if isinstance(value, str) else value
                for value in record.args
            )
        return True


class RefusedInOneLine(logging.Filter):
    """Takes the traceback from warnings: that somebody may not do something is no fault."""

    def filter(self, record: logging.LogRecord) -> bool:
        """True: every record goes on."""
        if record.levelno < logging.ERROR:
            record.exc_info = record.exc_text = None
        return True
