"""All routes; each also stands in the permission table (`portal/tests/permission_rows/`)."""

from __future__ import annotations

from django.urls import include, path

from portal import health
from portal.oauth.sign import SignInView, SignOutView

urlpatterns = [
    path("health/live", health.live, name="health-live"),
    path("health/ready", health.ready, name="health-ready"),
    path("accounts/login/", SignInView.as_view(), name="login"),
    path("accounts/logout/", SignOutView.as_view(), name="logout"),
    path("home/", include("portal.consumer.urls")),
    path("", include("portal.account.urls")),
    path("api/v1/", include("portal.api.urls")),
    path("", include("portal.oauth.urls")),
    path("", include("portal.frame.urls")),
    path("", include("portal.enterprise.urls")),
]

handler500 = "portal.api.problems.server_error"
