"""Where the store keeps its files, as entries of Django's STORAGES; imports nothing of Django."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

_IN_MEMORY: Final = 4 * 1024 * 1024


def in_folder(folder: Path) -> dict[str, Any]:
    """A folder that all web and worker processes share."""
    return {
        "BACKEND": "firmware.artifacts.storage.FolderStorage",
        "OPTIONS": {"location": folder},
    }


def in_bucket(
    *, name: str, prefix: str = "", key: str = "", secret: str = "", **service: str
) -> dict[str, Any]:
    """A bucket of an S3-compatible service; `service` may have `endpoint` and `region`.

    Without a key, that of the machine is used, as the service's own tools find it.
    """
    return {
        "BACKEND": "storages.backends.s3.S3Storage",
        "OPTIONS": {
            "bucket_name": name,
            "location": prefix,
            "access_key": key or None,
            "secret_key": secret or None,
            "endpoint_url": service.get("endpoint"),
            "region_name": service.get("region"),
            # The name of a file is its digest: whoever writes it again writes the same bytes.
            "file_overwrite": True,
            "default_acl": None,
            # Of a file that is read as a whole the rest is on disk; without it, all is in memory.
            "max_memory_size": _IN_MEMORY,
        },
    }
