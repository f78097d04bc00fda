"""The former place of `portal.frame.permissions`."""

from __future__ import annotations

from portal.frame.permissions import access_of, may, requires

__all__ = ["access_of", "may", "requires"]
