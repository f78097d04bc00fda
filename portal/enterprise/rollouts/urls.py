"""The routes of the pages of roll-outs."""

from __future__ import annotations

from django.urls import path

from portal.enterprise.rollouts import views, views_steps, views_wizard

urlpatterns = [
    path("firmware/rollouts/", views.rollout_list, name="rollout-list"),
    path("firmware/rollouts/new/", views_wizard.create, name="rollout-create"),
    path("firmware/rollouts/new/preset/", views_wizard.preset, name="rollout-preset"),
    path("firmware/rollouts/new/preview/", views_wizard.preview, name="rollout-preview"),
    path("firmware/rollouts/<int:pk>/", views.detail, name="rollout"),
    path("firmware/rollouts/<int:pk>/edit/", views_wizard.edit, name="rollout-edit"),
    path("firmware/rollouts/<int:pk>/devices/", views.devices, name="rollout-devices"),
    path("firmware/rollouts/<int:pk>/devices/<int:target>/", views.target, name="rollout-target"),
    path("firmware/rollouts/<int:pk>/do/<slug:code>/", views_steps.step, name="rollout-step"),
    path(
        "firmware/rollouts/<int:pk>/approval/<slug:code>/",
        views_steps.approval,
        name="rollout-approval",
    ),
    path("devices/<int:pk>/firmware/", views.device, name="device-firmware"),
]
