"""Pages for facility managers."""

from __future__ import annotations

from django.urls import include, path

from portal.enterprise import views
from portal.enterprise.doors import consumers_to_their_home

urlpatterns = [
    path("", consumers_to_their_home(views.overview), name="overview"),
    path("facilities/<int:pk>/", views.facility, name="facility"),
    path("devices/<int:pk>/", views.device, name="device"),
    path("", include("portal.enterprise.administration.urls")),
    path("", include("portal.enterprise.people.urls")),
    path("", include("portal.enterprise.registry.urls")),
]
