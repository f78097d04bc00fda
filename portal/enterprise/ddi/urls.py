"""Settings of DDI, and the tokens of gateways and devices."""

from __future__ import annotations

from django.urls import path

from portal.enterprise.ddi import views

urlpatterns = [
    path("firmware/ddi/", views.settings, name="ddi-settings"),
    path("firmware/ddi/gateway/", views.issue_gateway, name="ddi-gateway"),
    path("firmware/ddi/gateway/withdraw/", views.withdraw_gateway, name="ddi-gateway-withdraw"),
    path("devices/<int:pk>/ddi/", views.device, name="ddi-device"),
    path("devices/<int:pk>/ddi/token/", views.issue_token, name="ddi-token"),
    path("devices/<int:pk>/ddi/token/withdraw/", views.withdraw_token, name="ddi-token-withdraw"),
]
