"""The routes of billing below /api/v1/."""

from __future__ import annotations

from typing import Final

from django.urls import URLPattern, path

from portal.api import billing_agreements as agreements
from portal.api import billing_bills as bills
from portal.api import billing_comparisons as comparisons
from portal.api import billing_customers as customers
from portal.api import billing_dunning as dunning
from portal.api import billing_parts as parts
from portal.api import billing_payments as payments
from portal.api import billing_prepaid as prepaid
from portal.api import billing_prices as prices
from portal.api import billing_restatements as restatements
from portal.api import billing_revenue as revenue
from portal.api import billing_runs as runs
from portal.api import billing_tariffs as tariffs

TARIFFS: Final[list[URLPattern]] = [
    path("tariffs/", tariffs.TariffList.as_view(), name="tariff-list"),
    path("tariffs/preview/", tariffs.TariffPreview.as_view(), name="tariff-preview"),
    path("tariffs/import/", tariffs.TariffImport.as_view(), name="tariff-import"),
    path("tariffs/check/", tariffs.TariffCheck.as_view(), name="tariff-check"),
    path("tariffs/<int:pk>/", tariffs.TariffOne.as_view(), name="tariff"),
    path("tariffs/<int:pk>/archive/", tariffs.TariffArchive.as_view(), name="tariff-archive"),
    path("tariffs/<int:pk>/restore/", tariffs.TariffRestore.as_view(), name="tariff-restore"),
    path("tariffs/<int:pk>/versions/", tariffs.VersionList.as_view(), name="version-list"),
    path("tariff-versions/<int:pk>/", tariffs.VersionOne.as_view(), name="version"),
    path("tariff-versions/<int:pk>/check/", tariffs.VersionCheck.as_view(), name="version-check"),
    path(
        "tariff-versions/<int:pk>/publish/",
        tariffs.VersionPublish.as_view(),
        name="version-publish",
    ),
    path(
        "tariff-versions/<int:pk>/duplicate/",
        tariffs.VersionDuplicate.as_view(),
        name="version-duplicate",
    ),
    path("tariff-comparisons/", comparisons.ComparisonList.as_view(), name="comparison-list"),
    path("tariff-comparisons/<int:pk>/", comparisons.ComparisonOne.as_view(), name="comparison"),
    path("price-series/", prices.SeriesList.as_view(), name="price-series-list"),
    path("price-series/<int:pk>/prices/", prices.SeriesPrices.as_view(), name="price-list"),
]
AGREEMENTS: Final[list[URLPattern]] = [
    path("customers/", customers.CustomerList.as_view(), name="customer-list"),
    path("customers/<int:pk>/", customers.CustomerOne.as_view(), name="customer"),
    path(
        "customers/<int:pk>/protection/",
        customers.CustomerProtection.as_view(),
        name="customer-protection",
    ),
    path("agreements/", agreements.AgreementList.as_view(), name="agreement-list"),
    path("agreements/<int:pk>/", agreements.AgreementOne.as_view(), name="agreement"),
    path(
        "agreements/<int:pk>/move-out/",
        agreements.AgreementMoveOut.as_view(),
        name="agreement-move-out",
    ),
    path(
        "agreements/<int:pk>/reopen/", agreements.AgreementReopen.as_view(), name="agreement-reopen"
    ),
    path(
        "agreements/<int:pk>/meters/", agreements.AgreementMeters.as_view(), name="agreement-meters"
    ),
    path(
        "agreements/<int:pk>/meters/<int:meter>/",
        agreements.AgreementMeterOne.as_view(),
        name="agreement-meter",
    ),
    path(
        "agreements/<int:pk>/tariffs/",
        agreements.AgreementTariffs.as_view(),
        name="agreement-tariffs",
    ),
    path("billing-settings/", agreements.Settings.as_view(), name="billing-settings"),
]
BILLS: Final[list[URLPattern]] = [
    path("bills/", bills.BillList.as_view(), name="bill-list"),
    path("bills/<int:pk>/", bills.BillOne.as_view(), name="bill"),
    path("bills/<int:pk>/file/", parts.BillFile.as_view(), name="bill-file"),
    path(
        "bills/<int:pk>/lines/<int:position>/intervals/",
        parts.BillLineIntervals.as_view(),
        name="bill-line-intervals",
    ),
    path("bills/<int:pk>/deliveries/", parts.BillDeliveries.as_view(), name="bill-deliveries"),
    path("restatements/", restatements.RestatementList.as_view(), name="restatement-list"),
    path("restatements/<int:pk>/", restatements.RestatementOne.as_view(), name="restatement"),
    path(
        "restatements/<int:pk>/settle/",
        restatements.RestatementSettle.as_view(),
        name="restatement-settle",
    ),
    path(
        "restatements/<int:pk>/dismiss/",
        restatements.RestatementDismiss.as_view(),
        name="restatement-dismiss",
    ),
    path("bill-runs/", runs.RunList.as_view(), name="bill-run-list"),
    path("bill-runs/<int:pk>/", runs.RunOne.as_view(), name="bill-run"),
    path("bill-runs/<int:pk>/items/", runs.RunItems.as_view(), name="bill-run-items"),
    path("bill-runs/<int:pk>/approve/", runs.RunApprove.as_view(), name="bill-run-approve"),
    path("bill-runs/<int:pk>/cancel/", runs.RunCancel.as_view(), name="bill-run-cancel"),
    path("revenue/", revenue.RevenueOne.as_view(), name="revenue"),
    path("cost-centres/", revenue.CostCentres.as_view(), name="cost-centres"),
    path("payments/", payments.PaymentList.as_view(), name="payment-list"),
    path("payments/statements/", dunning.StatementImport.as_view(), name="payment-import"),
    path("dunning-cases/", dunning.CaseList.as_view(), name="dunning-case-list"),
    path("dunning-cases/<int:pk>/", dunning.CaseOne.as_view(), name="dunning-case"),
    path("instalment-plans/", dunning.PlanList.as_view(), name="plan-list"),
    path("instalment-plans/<int:pk>/cancel/", dunning.PlanCancel.as_view(), name="plan-cancel"),
    path("payments/<int:pk>/refund/", payments.PaymentRefund.as_view(), name="payment-refund"),
    path("payments/<int:pk>/assign/", payments.PaymentAssign.as_view(), name="payment-assign"),
    path(
        "agreements/<int:pk>/account/",
        payments.AgreementAccount.as_view(),
        name="agreement-account",
    ),
    path(
        "agreements/<int:pk>/entries/",
        payments.AgreementEntries.as_view(),
        name="agreement-entries",
    ),
]
PREPAID: Final[list[URLPattern]] = [
    path("wallets/", prepaid.WalletList.as_view(), name="wallet-list"),
    path("agreements/<int:pk>/wallet/", prepaid.AgreementWallet.as_view(), name="wallet"),
    path(
        "agreements/<int:pk>/wallet/movements/",
        prepaid.WalletMovements.as_view(),
        name="wallet-movements",
    ),
    path(
        "agreements/<int:pk>/wallet/adjust/", prepaid.WalletAdjust.as_view(), name="wallet-adjust"
    ),
    path("payg-units/", prepaid.UnitList.as_view(), name="payg-unit-list"),
    path("payg-units/<int:pk>/", prepaid.UnitOne.as_view(), name="payg-unit"),
    path("payg-units/<int:pk>/tokens/", prepaid.UnitTokens.as_view(), name="payg-unit-tokens"),
    path("payg-tokens/<int:pk>/send/", prepaid.TokenSend.as_view(), name="payg-token-send"),
    path("payg-token-requests/", prepaid.TokenRequests.as_view(), name="payg-request-list"),
    path(
        "payg-token-requests/<int:pk>/decide/",
        prepaid.TokenRequestDecide.as_view(),
        name="payg-request-decide",
    ),
    path("devices/<int:pk>/outage/", prepaid.DeviceOutage.as_view(), name="device-outage"),
]
resources: Final = [*TARIFFS, *AGREEMENTS, *BILLS, *PREPAID]
