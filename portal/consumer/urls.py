"""The routes of the consumer view."""

from __future__ import annotations

from django.urls import path

from portal.consumer import bills, comparison, prepaid, views

app_name = "consumer"
urlpatterns = [
    path("", views.home, name="home"),
    path("facilities/<int:pk>/", views.home, name="facility"),
    path("facilities/<int:pk>/today/", views.today, name="today"),
    path("facilities/<int:pk>/use/", views.use, name="use"),
    path("bills/", bills.bill_list, name="bills"),
    path("bills/<int:pk>/", bills.bill, name="bill"),
    path("bills/<int:pk>/pdf/", bills.pdf, name="bill-pdf"),
    path("compare/", comparison.compare, name="compare"),
    path("compare/<int:pk>/", comparison.comparison, name="comparison"),
    path("prepaid/", prepaid.prepaid_list, name="prepaid"),
    path("prepaid/<int:pk>/warning/", prepaid.warning, name="prepaid-warning"),
    path("sign-in/", views.sign_in, name="sign-in"),
    path("callback/", views.callback, name="callback"),
    path("sign-out/", views.sign_out, name="sign-out"),
    path("signed-out/", views.signed_out, name="signed-out"),
    path("backchannel-logout/", views.backchannel_logout, name="backchannel-logout"),
    path("offline/", views.offline, name="offline"),
    path("manifest.webmanifest", views.manifest, name="manifest"),
    path("service-worker.js", views.service_worker, name="service-worker"),
]
