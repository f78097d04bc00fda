"""The files of releases."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime
from typing import Final

from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.utils.http import content_disposition_header

from firmware.artifacts.ranges import UnsatisfiableRange
from firmware.artifacts.store import ArtifactMissingError
from firmware.ddi import answers
from firmware.ddi.errors import DdiError, ErrorCode
from firmware.domain import ddi_downloads as downloads
from firmware.domain import ddi_files
from firmware.domain.ddi_doors import Controller
from portal import ranged
from portal.ddi import limits
from portal.ddi.exchange import answer, ddi_view, root_of, too_many
from portal.downloads import paced
from portal.downloads.sending import Sending
from tenants.scope import open_scope

_CHECKSUM: Final = ".MD5SUM"
# What one process sends at once to one device: most clients take a file by one answer, but RAUC's
# streaming asks for many small parts at once.
AT_ONCE: Final = 32
_RETRY_S: Final = "30"
sending = Sending(AT_ONCE)


@ddi_view("GET")
def artifacts(request: HttpRequest, controller: Controller, module: int) -> HttpResponse:
    """The files of a module."""
    file = downloads.file_for(controller=controller, module=module)
    return answer(request, answers.artifacts(root_of(request, controller), module, [file]))


@ddi_view("GET", "HEAD", limit=limits.FILES)
def artifact(
    request: HttpRequest, controller: Controller, module: int, name: str
) -> HttpResponseBase:
    """A file, whole or in part; or its checksum."""
    file = downloads.file_for(controller=controller, module=module)
    if name == file.name + _CHECKSUM:
        line = HttpResponse(answers.md5_line(file), content_type="text/plain; charset=utf-8")
        line["Content-Disposition"] = str(content_disposition_header(True, name))
        return line
    if name != file.name:
        raise DdiError(ErrorCode.NOT_FOUND, f"The module {module} has no file {name[:120]}.")
    start = rate = 0
    if request.method == "GET":
        if sending.is_full(controller.device_id):
            return too_many(_RETRY_S)
        with suppress(UnsatisfiableRange):
            start = ranged.asked_for(request, sha256=file.sha256, size=file.size).start
            rate = _told(controller, module, start)
    try:
        response = ranged.serve(request, sha256=file.sha256, size=file.size, name=name)
    except ArtifactMissingError:
        raise ddi_files.lost(name) from None
    if isinstance(response, StreamingHttpResponse):

        def tell(sent: int) -> None:
            # The scope of the request has closed when the first byte is sent.
            with open_scope(controller.scope):
                _told(controller, module, start + sent)

        sending.begin(controller.device_id, response)
        pace = sending.pace(controller.device_id, rate)
        paced.pace(response, pace=pace, size=file.size, tell=tell)
    return response


def _told(controller: Controller, module: int, offset: int) -> int:
    now = datetime.now(UTC)
    return downloads.downloading(controller=controller, module=module, offset=offset, now=now)
