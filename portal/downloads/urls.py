"""The route of links to payloads."""

from __future__ import annotations

from django.urls import re_path

from firmware.domain.downloads import PATH
from portal.downloads import views

urlpatterns = [
    re_path(
        rf"^{PATH.lstrip('/')}(?P<sha256>[0-9a-f]{{64}})\Z", views.payload, name="firmware-payload"
    )
]
