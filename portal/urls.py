"""All routes; each also stands in the permission table (`portal/tests/test_permissions.py`)."""

from __future__ import annotations

from django.contrib.auth import views as auth
from django.urls import include, path

from portal import health

urlpatterns = [
    path("health/live", health.live, name="health-live"),
    path("health/ready", health.ready, name="health-ready"),
    path("accounts/login/", auth.LoginView.as_view(redirect_authenticated_user=True), name="login"),
    path("accounts/logout/", auth.LogoutView.as_view(), name="logout"),
    path("api/v1/", include("portal.api.urls")),
    path("", include("portal.enterprise.urls")),
]

handler500 = "portal.api.problems.server_error"
