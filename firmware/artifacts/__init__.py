"""Artifacts: the store of files, what they say about themselves, signatures, and patches."""
