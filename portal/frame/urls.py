"""Pages of the frame itself."""

from __future__ import annotations

from django.urls import path, re_path

from portal.frame import branding, design, views

urlpatterns = [
    path("design/", design.page, name="design"),
    path("design/dialog/", design.dialog, name="design-dialog"),
    path("search/", views.search, name="search"),
    path("search/suggest/", views.suggest, name="search-suggest"),
    path("tenants/switch/", views.switch_tenant, name="switch-tenant"),
    path("tenants/branding/", branding.page, name="branding"),
    re_path(
        r"^branding/(?P<tenant_id>[0-9]{1,18})-(?P<version>[A-Za-z0-9_-]{1,24})\.(?P<extension>css|png)$",
        branding.brand_file,
        name="brand-file",
    ),
    path("language/", views.language, name="language"),
]
