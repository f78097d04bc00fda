"""Published schemas of the documents that people write; open to everybody."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_safe

from billing.tariffs import form

_TARIFF = form.SCHEMA_FILE.read_bytes()


@require_safe
@cache_control(public=True, max_age=3600)
def tariff(_request: HttpRequest) -> HttpResponse:
    """The JSON Schema of tariffs, version 1."""
    answer = HttpResponse(_TARIFF, content_type="application/schema+json")
    # Editors fetch schemas from wherever the document is.
    answer["Access-Control-Allow-Origin"] = "*"
    return answer
