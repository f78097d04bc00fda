"""Static files: names carry a hash of the content, so that they may be cached for ever."""

from __future__ import annotations

from whitenoise.storage import CompressedManifestStaticFilesStorage


class ManifestStorage(CompressedManifestStaticFilesStorage):
    """Rewrites the import paths of native ES modules to the hashed names as well."""

    support_js_module_import_aggregation = True
