"""Pages of administration."""

from __future__ import annotations

from django.urls import path

from portal.enterprise.administration import (
    application_views,
    audit_views,
    impersonation_views,
    retention_views,
    tenant_views,
)

_APPLICATION = "applications/<int:pk>/"

urlpatterns = [
    path("applications/", application_views.applications, name="applications"),
    path("applications/new/", application_views.register, name="application-new"),
    path(_APPLICATION, application_views.application, name="application"),
    path(f"{_APPLICATION}change/", application_views.change, name="application-change"),
    path(f"{_APPLICATION}secret/", application_views.rotate_secret, name="application-secret"),
    path(f"{_APPLICATION}stop/", application_views.deactivate, name="application-deactivate"),
    path(f"{_APPLICATION}start/", application_views.activate, name="application-activate"),
    path(
        f"{_APPLICATION}tokens/revoke/", application_views.revoke_tokens, name="application-tokens"
    ),
    path(
        f"{_APPLICATION}consents/<int:consent>/",
        application_views.revoke_consent,
        name="application-consent",
    ),
    path("audit/", audit_views.trail, name="audit"),
    path("audit/audit.csv", audit_views.export, {"kind": "csv"}, name="audit-csv"),
    path("audit/audit.json", audit_views.export, {"kind": "json"}, name="audit-json"),
    path("impersonation/", impersonation_views.candidates, name="impersonation"),
    path("impersonation/<int:pk>/", impersonation_views.begin, name="impersonation-begin"),
    path("impersonation/end/", impersonation_views.end, name="impersonation-end"),
    path("retention/", retention_views.retention, name="retention"),
    path("holds/", retention_views.holds, name="holds"),
    path("holds/new/", retention_views.hold, name="hold-new"),
    path("holds/<int:pk>/release/", retention_views.release, name="hold-release"),
    path("tenants/", tenant_views.tenants, name="tenants"),
    path("tenants/<int:pk>/", tenant_views.tenant, name="tenant"),
    path("tenants/<int:pk>/branch/", tenant_views.branch, name="tenant-branch"),
    path("tenants/<int:pk>/new/", tenant_views.create, name="tenant-new"),
    path("tenants/<int:pk>/change/", tenant_views.change, name="tenant-change"),
    path("tenants/<int:pk>/suspend/", tenant_views.suspend, name="tenant-suspend"),
    path("tenants/<int:pk>/resume/", tenant_views.resume, name="tenant-resume"),
]
