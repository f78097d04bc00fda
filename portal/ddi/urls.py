"""`/{tenant}/controller/v1/{controllerId}`: the short name of a tenant, the serial of a device."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from django.http.response import HttpResponseBase
from django.urls import URLPattern, path

from portal.ddi import views, views_files

app_name = "ddi"

_ROOT: Final = "<slug:tenant>/controller/v1/<str:controller>"
_FILES: Final = "/softwaremodules/<int:module>/artifacts"


def _route(rest: str, view: Callable[..., HttpResponseBase], name: str) -> URLPattern:
    return path(_ROOT + rest, view, name=name)


urlpatterns = [
    _route("", views.base, "base"),
    _route("/configData", views.config_data, "config-data"),
    _route("/deploymentBase/<int:action>", views.deployment, "deployment"),
    _route("/deploymentBase/<int:action>/feedback", views.feedback, "feedback"),
    _route("/installedBase/<int:action>", views.installed, "installed"),
    _route("/cancelAction/<int:action>", views.cancel, "cancel"),
    _route("/cancelAction/<int:action>/feedback", views.cancel_feedback, "cancel-feedback"),
    _route("/confirmationBase", views.confirmation_base, "confirmation-base"),
    _route("/confirmationBase/activateAutoConfirm", views.agree_in_advance, "auto-confirm"),
    _route("/confirmationBase/deactivateAutoConfirm", views.ask_again, "auto-confirm-end"),
    _route("/confirmationBase/<int:action>", views.confirmation, "confirmation"),
    _route(
        "/confirmationBase/<int:action>/feedback",
        views.confirmation_feedback,
        "confirmation-feedback",
    ),
    _route(_FILES, views_files.artifacts, "artifacts"),
    _route(f"{_FILES}/<str:name>", views_files.artifact, "artifact"),
]
