"""The routes of corrections."""

from __future__ import annotations

from django.urls import path

from portal.enterprise.corrections import views

urlpatterns = [
    path("devices/<int:pk>/corrections/", views.correction_list, name="correction-list"),
    path("devices/<int:pk>/corrections/new/", views.make, name="correction-create"),
    path("corrections/<int:pk>/withdraw/", views.withdraw, name="correction-withdraw"),
]
