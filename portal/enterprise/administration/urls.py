"""Pages of administration."""

from __future__ import annotations

from django.urls import path

from portal.enterprise.administration import audit_views, impersonation_views

urlpatterns = [
    path("audit/", audit_views.trail, name="audit"),
    path("audit/audit.csv", audit_views.export, {"kind": "csv"}, name="audit-csv"),
    path("audit/audit.json", audit_views.export, {"kind": "json"}, name="audit-json"),
    path("impersonation/", impersonation_views.candidates, name="impersonation"),
    path("impersonation/<int:pk>/", impersonation_views.begin, name="impersonation-begin"),
    path("impersonation/end/", impersonation_views.end, name="impersonation-end"),
]
