"""Facilities, devices and loads as people keep them; imports; claim codes."""

from __future__ import annotations

from django.urls import path

from portal.enterprise.registry import (
    views_claims,
    views_derived,
    views_devices,
    views_facilities,
    views_imports,
    views_loads,
    views_meters,
)

urlpatterns = [
    path("facilities/", views_facilities.facility_list, name="facility-list"),
    path("facilities/new/", views_facilities.create, name="facility-create"),
    path("facilities/<int:pk>/edit/", views_facilities.edit, name="facility-edit"),
    path("facilities/<int:pk>/meters/", views_meters.meter_tree, name="facility-meters"),
    path("facilities/<int:pk>/meters/arrange/", views_meters.arrange, name="meters-arrange"),
    path("facilities/<int:pk>/loads/", views_loads.load_list, name="load-list"),
    path("facilities/<int:pk>/loads/new/", views_loads.create, name="load-create"),
    path("loads/<int:pk>/edit/", views_loads.edit, name="load-edit"),
    path("loads/<int:pk>/remove/", views_loads.remove, name="load-remove"),
    path("loads/<int:pk>/allocate/", views_loads.allocate, name="allocation-create"),
    path("allocations/<int:pk>/end/", views_loads.end, name="allocation-end"),
    path("allocations/<int:pk>/remove/", views_loads.remove_allocation, name="allocation-remove"),
    path("devices/", views_devices.device_list, name="device-list"),
    path("devices/new/", views_devices.create, name="device-create"),
    path("devices/states/", views_devices.change_states, name="device-states"),
    path("devices/<int:pk>/edit/", views_devices.edit, name="device-edit"),
    path("devices/<int:pk>/anew/", views_devices.anew, name="device-anew"),
    path("devices/<int:pk>/derived/", views_derived.derived_list, name="derived-list"),
    path("devices/<int:pk>/derived/new/", views_derived.create, name="derived-create"),
    path("devices/<int:pk>/derived/check/", views_derived.check, name="derived-check"),
    path("devices/<int:pk>/derived/add/", views_derived.add_ready_made, name="derived-add"),
    path("channels/<int:pk>/formula/", views_derived.change, name="formula-change"),
    path("device-types/", views_devices.type_list, name="device-type-list"),
    path("device-types/<int:pk>/", views_devices.type_detail, name="device-type"),
    path("imports/", views_imports.import_list, name="import-list"),
    path("imports/new/", views_imports.upload, name="import-create"),
    path("imports/template.csv", views_imports.template_file, name="import-template"),
    path("imports/<int:pk>/", views_imports.detail, name="import"),
    path("imports/<int:pk>/progress/", views_imports.progress, name="import-progress"),
    path("imports/<int:pk>/run/", views_imports.run, name="import-run"),
    path("imports/<int:pk>/result/", views_imports.result, name="import-result"),
    path("imports/<int:pk>/remove/", views_imports.remove, name="import-remove"),
    path("claim/", views_claims.start, name="claim"),
    path("claim/<str:code>", views_claims.claim, name="claim-code"),
    path("claim-codes/", views_claims.code_list, name="code-list"),
    path("claim-codes/issue/", views_claims.issue, name="code-issue"),
    path("claim-codes/withdraw/", views_claims.withdraw, name="code-withdraw"),
    path("claim-codes/labels/", views_claims.label_sheet, name="code-labels"),
]
