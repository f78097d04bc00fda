"""All routes; each also stands in the permission table (`portal/tests/permission_rows/`)."""

from __future__ import annotations

from django.urls import include, path

from portal import health, schemas

urlpatterns = [
    path("health/live", health.live, name="health-live"),
    path("health/ready", health.ready, name="health-ready"),
    path("schemas/tariff-1.json", schemas.tariff, name="schema-tariff"),
    path("home/", include("portal.consumer.urls")),
    path("", include("portal.account.urls")),
    path("api/v1/", include("portal.api.urls")),
    path("", include("portal.oauth.urls")),
    path("", include("portal.downloads.urls")),
    path("", include("portal.webhooks.urls")),
    path("", include("portal.frame.urls")),
    path("", include("portal.enterprise.urls")),
    path("", include("portal.ddi.urls")),
]

handler400 = "portal.api.problems.bad_request"
handler404 = "portal.api.problems.not_found"
handler500 = "portal.api.problems.server_error"
