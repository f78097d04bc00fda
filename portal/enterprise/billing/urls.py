"""The routes of billing's pages."""

from __future__ import annotations

from django.urls import path

from portal.enterprise.billing import views_agreements, views_bills, views_runs, views_tariffs

urlpatterns = [
    path("billing/bills/", views_bills.bill_list, name="bill-list"),
    path("billing/bills/<int:pk>/", views_bills.detail, name="bill"),
    path("billing/agreements/", views_agreements.agreement_list, name="agreement-list"),
    path("billing/agreements/<int:pk>/", views_agreements.agreement, name="agreement"),
    path("billing/customers/", views_agreements.customer_list, name="customer-list"),
    path("billing/customers/<int:pk>/", views_agreements.customer, name="customer"),
    path("billing/tariffs/", views_tariffs.tariff_list, name="tariff-list"),
    path("billing/tariffs/<int:pk>/", views_tariffs.detail, name="tariff"),
    path("billing/runs/", views_runs.run_list, name="bill-run-list"),
    path("billing/runs/<int:pk>/", views_runs.detail, name="bill-run"),
]
