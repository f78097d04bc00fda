"""`/webhooks/payments/{service}/{tenant}/`: the short name of a tenant."""

from __future__ import annotations

from django.urls import path

from portal.webhooks import views

urlpatterns = [
    path(
        "webhooks/payments/<slug:provider>/<slug:tenant>/", views.payments, name="payments-webhook"
    ),
]
