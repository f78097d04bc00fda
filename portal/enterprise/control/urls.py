"""The routes of groups and settings."""

from __future__ import annotations

from django.urls import path

from portal.enterprise.control import views_groups, views_settings

urlpatterns = [
    path("groups/", views_groups.group_list, name="group-list"),
    path("groups/new/", views_groups.create, name="group-create"),
    path("groups/new/rule/", views_groups.create_by_rule, name="group-create-rule"),
    path("groups/preview/", views_groups.preview, name="group-preview"),
    path("groups/choose/", views_groups.choose, name="group-choose"),
    path("groups/<int:pk>/", views_groups.group, name="group"),
    path("groups/<int:pk>/edit/", views_groups.edit, name="group-edit"),
    path("groups/<int:pk>/delete/", views_groups.delete, name="group-delete"),
    path("groups/<int:pk>/members/", views_groups.members, name="group-members"),
    path("devices/<int:pk>/settings/", views_settings.device_settings, name="device-settings"),
    path("devices/<int:pk>/settings/again/", views_settings.tell_again, name="settings-again"),
    path("devices/settings/", views_settings.change_many, name="settings-many"),
]
