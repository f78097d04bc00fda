"""What the charts of a facility or of a device ask of its past."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from typing import Final, cast

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.utils.cache import get_conditional_response, patch_vary_headers
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_safe

from devices.domain import history as domain
from devices.domain.catalogue import ChannelNotFound
from devices.domain.series import SeriesResult
from devices.domain.series_bounds import SeriesRefusedError
from portal.charts import history as charts
from portal.frame.permissions import requires
from tenants.permissions import Permission

# The quickest: on columns of integers more effort saves little.
_GZIP_LEVEL: Final = 1
_WORTH_PACKING: Final = 1_024


@require_safe
@requires(Permission.FACILITIES_VIEW, Permission.READINGS_VIEW)
@cache_control(private=True, no_cache=True)
def facility_history(request: HttpRequest, *, pk: int) -> HttpResponseBase:
    """The history of channels of a facility, as columns (`portal.charts.history`)."""
    return _answer(
        request,
        lambda asked: domain.facility_history(
            facility_id=pk,
            channels=asked.channels,
            start=asked.start,
            end=asked.end,
            resolution=asked.resolution,
            points=asked.points,
        ),
    )


@require_safe
@requires(Permission.DEVICES_VIEW, Permission.READINGS_VIEW)
@cache_control(private=True, no_cache=True)
def device_history(request: HttpRequest, *, pk: int) -> HttpResponseBase:
    """The history of channels of a device, as columns (`portal.charts.history`)."""
    return _answer(
        request,
        lambda asked: domain.device_history(
            device_id=pk,
            channels=asked.channels,
            start=asked.start,
            end=asked.end,
            resolution=asked.resolution,
            points=asked.points,
        ),
    )


def _answer(
    request: HttpRequest, read: Callable[[charts.Question], SeriesResult]
) -> HttpResponseBase:
    """The columns, unless the browser has them already; `{"text": …}` and 400 for a question that
    cannot be answered.
    """
    try:
        found = read(charts.question(request.GET.dict()))
    except (charts.QuestionError, SeriesRefusedError) as error:
        return JsonResponse({"text": str(error)}, status=400)
    except ChannelNotFound as error:
        raise Http404 from error
    body = charts.packed(found)
    etag = charts.etag_of(body)
    response = HttpResponse(body, content_type=charts.MEDIA_TYPE)
    if len(body) >= _WORTH_PACKING and "gzip" in request.headers.get("Accept-Encoding", ""):
        response.content = gzip.compress(body, _GZIP_LEVEL, mtime=0)
        response["Content-Encoding"] = "gzip"
        # The packed answer is another representation: weak tells that the numbers are the same.
        etag = f"W/{etag}"
    response["ETag"] = etag
    patch_vary_headers(response, ["Accept-Encoding", "Cookie"])
    return cast(HttpResponseBase, get_conditional_response(request, etag=etag, response=response))
