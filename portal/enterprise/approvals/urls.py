"""The routes of approvals and of the rules that demand them."""

from __future__ import annotations

from django.urls import path

from portal.enterprise.approvals import views

urlpatterns = [
    path("approvals/", views.approvals, name="approvals"),
    path("control-rules/", views.rules, name="control-rules"),
    path("control-rules/<slug:rule>/off/", views.switch_off, name="control-rule-off"),
    path("control-rules/<slug:rule>/keep/", views.keep, name="control-rule-keep"),
]
