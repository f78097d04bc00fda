"""All routes; each also stands in the permission table (`portal/tests/test_permissions.py`)."""

from __future__ import annotations

from django.contrib.auth import views as auth
from django.urls import include, path

from portal import health
from portal.signin import SignInView

urlpatterns = [
    path("health/live", health.live, name="health-live"),
    path("health/ready", health.ready, name="health-ready"),
    path("accounts/login/", SignInView.as_view(), name="login"),
    path("accounts/logout/", auth.LogoutView.as_view(), name="logout"),
    path("", include("portal.enterprise.urls")),
]
