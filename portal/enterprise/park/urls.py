"""The park: overview, facility and device."""

from __future__ import annotations

from django.urls import path

from portal.enterprise.doors import consumers_to_their_home
from portal.enterprise.park import views, views_history

urlpatterns = [
    path("", consumers_to_their_home(views.overview), name="overview"),
    path("facilities/<int:pk>/", views.facility, name="facility"),
    path("facilities/<int:pk>/history/", views_history.facility_history, name="facility-history"),
    path("devices/<int:pk>/", views.device, name="device"),
    path("devices/<int:pk>/history/", views_history.device_history, name="device-history"),
    path("devices/<int:pk>/state/", views.change_state, name="device-state"),
    path("devices/<int:pk>/secret/", views.rotate_secret, name="device-secret"),
]
