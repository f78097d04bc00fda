"""Pages for facility managers."""

from __future__ import annotations

from django.urls import include, path

urlpatterns = [
    path("", include("portal.enterprise.park.urls")),
    path("", include("portal.enterprise.administration.urls")),
    path("", include("portal.enterprise.people.urls")),
    path("", include("portal.enterprise.registry.urls")),
    path("", include("portal.enterprise.corrections.urls")),
    path("", include("portal.enterprise.firmware.urls")),
    path("", include("portal.enterprise.rollouts.urls")),
    path("", include("portal.enterprise.billing.urls")),
    path("", include("portal.enterprise.history.urls")),
    path("", include("portal.enterprise.control.urls")),
    path("", include("portal.enterprise.ddi.urls")),
    path("", include("portal.enterprise.approvals.urls")),
]
