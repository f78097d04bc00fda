"""What does not go into the log: links that were sent to one person alone."""

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
