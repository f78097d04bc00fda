"""Static files: named by a hash of their content, compressed, served without touching Django."""

from __future__ import annotations

from typing import Any
from wsgiref.headers import Headers

from django.conf import settings
from servestatic import ServeStaticASGI
from servestatic.storage import CompressedManifestStaticFilesStorage

# Names that carry a hash may be cached for ever.
_HASHED = r"^.+\.[0-9a-f]{12}\..+$"


class ManifestStorage(CompressedManifestStaticFilesStorage):
    """Rewrites the import paths of native ES modules to the hashed names as well."""

    support_js_module_import_aggregation = True


def serve_static(application: Any) -> Any:
    """`application` behind the static files that `collectstatic` gathered, when there are any.

    They bypass the middleware on purpose: no session, no transaction for a style sheet.
    """
    if not settings.STATIC_ROOT.is_dir():
        return application
    return ServeStaticASGI(
        application,
        root=settings.STATIC_ROOT,
        prefix=settings.STATIC_URL,
        immutable_file_test=_HASHED,
        allow_all_origins=False,
        add_headers_function=_add_headers,
    )


def _add_headers(headers: Headers, path: str, url: str) -> None:  # noqa: ARG001 (its signature)
    headers["X-Content-Type-Options"] = "nosniff"
