"""Where files of releases lie: a folder, or a bucket of an S3-compatible service."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from portal.env import Bucket


def firmware_storage(bucket: Bucket | None, folder: Path) -> dict[str, Any]:
    """The entry of Django's STORAGES; the folder counts where no bucket is set."""
    if bucket is None:
        return {
            "BACKEND": "firmware.artifacts.storage.FolderStorage",
            "OPTIONS": {"location": folder},
        }
    return {
        "BACKEND": "storages.backends.s3.S3Storage",
        "OPTIONS": {
            "bucket_name": bucket.name,
            "location": bucket.prefix,
            "access_key": bucket.key or None,
            "secret_key": bucket.secret or None,
            "endpoint_url": bucket.options.get("endpoint"),
            "region_name": bucket.options.get("region"),
            # The name of a file is its digest: whoever writes it again writes the same bytes.
            "file_overwrite": True,
            "default_acl": None,
        },
    }
