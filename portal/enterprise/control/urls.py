"""The routes of groups, settings and commands."""

from __future__ import annotations

from django.urls import path

from portal.enterprise.control import views_commands, views_groups, views_settings

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
    path("devices/<int:pk>/control/", views_commands.device_control, name="device-control"),
    path("commands/", views_commands.command_list, name="command-list"),
    path("commands/new/", views_commands.ask_many, name="command-many"),
    path("commands/<int:pk>/", views_commands.command, name="command"),
    path("commands/<int:pk>/approve/", views_commands.approve, name="command-approve"),
    path("commands/<int:pk>/refuse/", views_commands.refuse, name="command-refuse"),
    path("commands/<int:pk>/cancel/", views_commands.cancel, name="command-cancel"),
    path("commands/batches/", views_commands.batch_list, name="batch-list"),
    path("commands/batches/<int:pk>/", views_commands.batch, name="command-batch"),
    path("commands/batches/<int:pk>/approve/", views_commands.approve_batch, name="batch-approve"),
    path("commands/batches/<int:pk>/refuse/", views_commands.refuse_batch, name="batch-refuse"),
    path("commands/batches/<int:pk>/cancel/", views_commands.cancel_batch, name="batch-cancel"),
    path("commands/batches/<int:pk>/retry/", views_commands.retry_batch, name="batch-retry"),
]
