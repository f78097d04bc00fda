"""Routes of the account pages."""

from __future__ import annotations

from django.urls import path

from portal.account import views_sessions

urlpatterns = [
    path("account/sessions/", views_sessions.sessions, name="account-sessions"),
    path("account/sessions/end-others", views_sessions.end_others, name="account-sessions-end"),
    path("account/sessions/<int:pk>/end", views_sessions.end, name="account-session-end"),
]
