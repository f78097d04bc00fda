"""The routes of firmware's pages."""

from __future__ import annotations

from django.urls import path

from portal.enterprise.firmware import views_keys, views_releases

urlpatterns = [
    path("firmware/releases/", views_releases.release_list, name="release-list"),
    path("firmware/releases/new/", views_releases.upload, name="release-create"),
    path("firmware/releases/new/check/", views_releases.check, name="release-check"),
    path("firmware/releases/<int:pk>/", views_releases.detail, name="release"),
    path("firmware/releases/<int:pk>/edit/", views_releases.edit, name="release-edit"),
    path("firmware/releases/<int:pk>/approve/", views_releases.approve, name="release-approve"),
    path("firmware/releases/<int:pk>/retire/", views_releases.retire, name="release-retire"),
    path("firmware/releases/<int:pk>/delete/", views_releases.delete, name="release-delete"),
    path("firmware/releases/<int:pk>/image/", views_releases.image, name="release-image"),
    path("firmware/keys/", views_keys.key_list, name="signing-key-list"),
    path("firmware/keys/new/", views_keys.add, name="signing-key-create"),
    path("firmware/keys/<int:pk>/retire/", views_keys.retire, name="signing-key-retire"),
]
