"""The table of seals: its SQL, which a migration of this app runs (see `schema.py`)."""

from __future__ import annotations

from typing import Final

CREATE: Final = [
    """CREATE TABLE segment_seal (
  device_id bigint NOT NULL,
  day date NOT NULL,
  tenant_id bigint NOT NULL,
  leaves bytea NOT NULL,
  renewed_at timestamptz NOT NULL,
  CONSTRAINT segment_seal_pkey PRIMARY KEY (device_id, day),
  CONSTRAINT segment_seal_length CHECK (length(leaves) = 768)
)""",
    "ALTER TABLE segment_seal ALTER COLUMN leaves SET STORAGE EXTERNAL",
    # Renewed with every hour of its day that becomes a segment.
    "ALTER TABLE segment_seal SET (fillfactor = 70)",
    "REVOKE DELETE ON segment_seal FROM {app}",
]
DROP: Final = ["DROP TABLE segment_seal"]
