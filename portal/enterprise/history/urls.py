"""Imports and exports of history."""

from __future__ import annotations

from django.urls import path

from portal.enterprise.history import views_exports, views_imports

urlpatterns = [
    path("history/imports/", views_imports.import_list, name="history-import-list"),
    path("history/imports/new/", views_imports.upload, name="history-import-create"),
    path("history/imports/<int:pk>/", views_imports.detail, name="history-import"),
    path(
        "history/imports/<int:pk>/progress/",
        views_imports.progress,
        name="history-import-progress",
    ),
    path("history/imports/<int:pk>/run/", views_imports.run, name="history-import-run"),
    path("history/imports/<int:pk>/remove/", views_imports.remove, name="history-import-remove"),
    path("exports/", views_exports.export_list, name="export-list"),
    path("exports/new/", views_exports.create, name="export-create"),
    path("exports/<int:pk>/", views_exports.detail, name="export"),
    path("exports/<int:pk>/progress/", views_exports.progress, name="export-progress"),
    path("exports/<int:pk>/file/", views_exports.file, name="export-file"),
    path("exports/<int:pk>/cancel/", views_exports.cancel, name="export-cancel"),
]
