"""The routes of billing below /api/v1/."""

from __future__ import annotations

from typing import Final

from django.urls import URLPattern, path

from portal.api import billing_agreements as agreements
from portal.api import billing_customers as customers
from portal.api import billing_prices as prices
from portal.api import billing_tariffs as tariffs

TARIFFS: Final[list[URLPattern]] = [
    path("tariffs/", tariffs.TariffList.as_view(), name="tariff-list"),
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
resources: Final = [*TARIFFS, *AGREEMENTS]
