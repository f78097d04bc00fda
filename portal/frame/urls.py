"""Pages of the frame itself."""

from __future__ import annotations

from django.urls import path

from portal.frame import design, views

urlpatterns = [
    path("design/", design.page, name="design"),
    path("search/", views.search, name="search"),
    path("search/suggest/", views.suggest, name="search-suggest"),
    path("tenants/switch/", views.switch_tenant, name="switch-tenant"),
    path("language/", views.language, name="language"),
]
