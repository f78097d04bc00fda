"""Pages of the frame itself."""

from __future__ import annotations

from django.urls import path

from portal.frame import design

urlpatterns = [
    path("design/", design.page, name="design"),
]
