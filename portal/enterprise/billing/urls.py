"""The routes of billing's pages."""

from __future__ import annotations

from django.urls import path

from portal.enterprise.billing import (
    views_agreements,
    views_bills,
    views_customers,
    views_outage,
    views_preview,
    views_runs,
    views_settings,
    views_tariffs,
    views_terms,
    views_versions,
)

_VERSION = "billing/tariffs/versions/<int:pk>/"
_AGREEMENT = "billing/agreements/<int:pk>/"

urlpatterns = [
    path("billing/outages/", views_outage.search, name="outage-search"),
    path("billing/outages/<int:pk>/", views_outage.outage, name="outage"),
    path("billing/bills/", views_bills.bill_list, name="bill-list"),
    path("billing/bills/<int:pk>/", views_bills.detail, name="bill"),
    path("billing/bills/<int:pk>/lines/<int:position>/", views_bills.line, name="bill-line"),
    path("billing/bills/<int:pk>/files/<str:kind>/", views_bills.download, name="bill-file"),
    path("billing/bills/<int:pk>/void/", views_bills.void, name="bill-void"),
    path("billing/agreements/", views_agreements.agreement_list, name="agreement-list"),
    path("billing/agreements/place/", views_agreements.choose_place, name="agreement-place"),
    path("billing/agreements/new/", views_agreements.create, name="agreement-create"),
    path(_AGREEMENT, views_agreements.agreement, name="agreement"),
    path(f"{_AGREEMENT}edit/", views_terms.edit, name="agreement-edit"),
    path(f"{_AGREEMENT}move-out/", views_terms.move_out, name="agreement-move-out"),
    path(f"{_AGREEMENT}reopen/", views_terms.reopen, name="agreement-reopen"),
    path(f"{_AGREEMENT}tariff/", views_terms.change_tariff, name="agreement-tariff"),
    path(f"{_AGREEMENT}meters/new/", views_terms.add_meter, name="agreement-meter-add"),
    path(
        f"{_AGREEMENT}meters/<int:meter>/change/",
        views_terms.change_meter,
        name="agreement-meter-change",
    ),
    path(f"{_AGREEMENT}meters/<int:meter>/end/", views_terms.end_meter, name="agreement-meter-end"),
    path("billing/customers/", views_customers.customer_list, name="customer-list"),
    path("billing/customers/new/", views_customers.create, name="customer-create"),
    path("billing/customers/<int:pk>/", views_customers.customer, name="customer"),
    path("billing/customers/<int:pk>/edit/", views_customers.edit, name="customer-edit"),
    path("billing/customers/<int:pk>/protect/", views_customers.protect, name="customer-protect"),
    path(
        "billing/customers/<int:pk>/unprotect/",
        views_customers.unprotect,
        name="customer-unprotect",
    ),
    path("billing/tariffs/", views_tariffs.tariff_list, name="tariff-list"),
    path("billing/tariffs/<int:pk>/", views_tariffs.detail, name="tariff"),
    path("billing/tariffs/new/", views_tariffs.create, name="tariff-create"),
    path("billing/tariffs/import/", views_tariffs.import_published, name="tariff-import"),
    path("billing/tariffs/check/", views_versions.check, name="tariff-check"),
    path("billing/tariffs/<int:pk>/edit/", views_tariffs.edit, name="tariff-edit"),
    path("billing/tariffs/<int:pk>/archive/", views_tariffs.archive, name="tariff-archive"),
    path("billing/tariffs/<int:pk>/restore/", views_tariffs.restore, name="tariff-restore"),
    path("billing/tariffs/<int:pk>/draft/", views_versions.draft, name="tariff-draft"),
    path(_VERSION, views_versions.detail, name="tariff-version"),
    path(f"{_VERSION}preview/", views_preview.preview, name="tariff-version-preview"),
    path(f"{_VERSION}edit/", views_versions.edit, name="tariff-version-edit"),
    path(f"{_VERSION}publish/", views_versions.publish, name="tariff-version-publish"),
    path(f"{_VERSION}duplicate/", views_versions.duplicate, name="tariff-version-duplicate"),
    path(f"{_VERSION}delete/", views_versions.delete, name="tariff-version-delete"),
    path("billing/runs/", views_runs.run_list, name="bill-run-list"),
    path("billing/runs/<int:pk>/", views_runs.detail, name="bill-run"),
    path("billing/runs/new/", views_runs.create, name="bill-run-create"),
    path("billing/runs/<int:pk>/accept/", views_runs.accept, name="bill-run-accept"),
    path("billing/runs/<int:pk>/leave-out/", views_runs.leave_out, name="bill-run-leave-out"),
    path("billing/runs/<int:pk>/again/", views_runs.again, name="bill-run-again"),
    path("billing/runs/<int:pk>/approve/", views_runs.approve, name="bill-run-approve"),
    path("billing/runs/<int:pk>/cancel/", views_runs.cancel, name="bill-run-cancel"),
    path("billing/settings/", views_settings.billing_settings, name="billing-settings"),
]
