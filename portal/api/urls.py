"""The routes of /api/v1/."""

from __future__ import annotations

from django.urls import path, re_path

from portal.api import (
    billing_urls,
    commands,
    configuration,
    corrections,
    derived,
    exports,
    firmware,
    groups,
    policies,
    rollouts,
    series,
    views,
)

app_name = "api"

# The reference is a page, with nothing of any tenant; it is no part of the interface.
pages = [
    path("docs/", views.Reference.as_view(), name="reference"),
    path("docs/callback/", views.ReferenceCallback.as_view(), name="reference-callback"),
]
resources = [
    path("me/", views.Me.as_view(), name="me"),
    path("facilities/", views.FacilityList.as_view(), name="facility-list"),
    path("facilities/<int:pk>/", views.FacilityDetail.as_view(), name="facility"),
    path("facilities/<int:pk>/latest/", views.FacilityLatest.as_view(), name="facility-latest"),
    path("facilities/<int:pk>/series/", series.FacilityHistory.as_view(), name="facility-series"),
    path("devices/", views.DeviceList.as_view(), name="device-list"),
    path("devices/<int:pk>/", views.DeviceDetail.as_view(), name="device"),
    path("devices/<int:pk>/latest/", views.DeviceLatest.as_view(), name="device-latest"),
    path(
        "devices/<int:pk>/configuration/",
        configuration.DeviceConfigurationOne.as_view(),
        name="device-configuration",
    ),
    path("groups/", groups.GroupList.as_view(), name="group-list"),
    path("groups/preview/", groups.GroupPreview.as_view(), name="group-preview"),
    path("groups/<int:pk>/", groups.GroupOne.as_view(), name="group"),
    path("groups/<int:pk>/devices/", groups.GroupDevices.as_view(), name="group-devices"),
    path("devices/<int:pk>/derived/", derived.DerivedList.as_view(), name="derived-list"),
    path(
        "devices/<int:pk>/derived/preview/",
        derived.DerivedPreview.as_view(),
        name="derived-preview",
    ),
    path("channels/<int:pk>/formulas/", derived.FormulaList.as_view(), name="formula-list"),
    path("channels/", views.ChannelList.as_view(), name="channel-list"),
    path("channels/<int:pk>/", views.ChannelDetail.as_view(), name="channel"),
    path("channels/<int:pk>/series/", series.ChannelHistory.as_view(), name="channel-series"),
    path(
        "channels/<int:pk>/corrections/",
        corrections.CorrectionList.as_view(),
        name="correction-list",
    ),
    path(
        "channels/<int:pk>/corrections/preview/",
        corrections.CorrectionPreview.as_view(),
        name="correction-preview",
    ),
    path("corrections/<int:pk>/", corrections.CorrectionDetail.as_view(), name="correction"),
    path(
        "corrections/<int:pk>/withdrawal/",
        corrections.CorrectionWithdraw.as_view(),
        name="correction-withdraw",
    ),
    path("exports/", exports.ExportList.as_view(), name="export-list"),
    path("exports/<int:pk>/", exports.ExportDetail.as_view(), name="export"),
    path("exports/<int:pk>/parts/<int:number>/", exports.ExportPart.as_view(), name="export-part"),
    path("commands/", commands.CommandList.as_view(), name="command-list"),
    path("commands/<int:pk>/", commands.CommandOne.as_view(), name="command"),
    path("commands/<int:pk>/cancel/", commands.CommandCancel.as_view(), name="command-cancel"),
    path("commands/<int:pk>/approve/", commands.CommandApprove.as_view(), name="command-approve"),
    path("commands/<int:pk>/refuse/", commands.CommandRefuse.as_view(), name="command-refuse"),
    path("command-batches/", commands.BatchList.as_view(), name="batch-list"),
    path("command-batches/<int:pk>/", commands.BatchOne.as_view(), name="batch"),
    path("command-batches/<int:pk>/cancel/", commands.BatchCancel.as_view(), name="batch-cancel"),
    path(
        "command-batches/<int:pk>/approve/", commands.BatchApprove.as_view(), name="batch-approve"
    ),
    path("command-batches/<int:pk>/refuse/", commands.BatchRefuse.as_view(), name="batch-refuse"),
    path("command-batches/<int:pk>/retry/", commands.BatchRetry.as_view(), name="batch-retry"),
    path("releases/", firmware.ReleaseList.as_view(), name="release-list"),
    path("releases/<int:pk>/", firmware.ReleaseDetail.as_view(), name="release"),
    path("releases/<int:pk>/approval/", firmware.ReleaseApproval.as_view(), name="release-approve"),
    path(
        "releases/<int:pk>/retirement/", firmware.ReleaseRetirement.as_view(), name="release-retire"
    ),
    path("releases/<int:pk>/image/", firmware.ReleaseImage.as_view(), name="release-image"),
    path("rollouts/", rollouts.RolloutList.as_view(), name="rollout-list"),
    path("rollouts/preview/", rollouts.RolloutPreview.as_view(), name="rollout-preview"),
    path("rollouts/<int:pk>/", rollouts.RolloutOne.as_view(), name="rollout"),
    path("rollouts/<int:pk>/plan/", rollouts.RolloutPlan.as_view(), name="rollout-plan"),
    path("rollouts/<int:pk>/start/", rollouts.RolloutStart.as_view(), name="rollout-start"),
    path("rollouts/<int:pk>/approve/", rollouts.RolloutApprove.as_view(), name="rollout-approve"),
    path("rollouts/<int:pk>/pause/", rollouts.RolloutPause.as_view(), name="rollout-pause"),
    path("rollouts/<int:pk>/resume/", rollouts.RolloutResume.as_view(), name="rollout-resume"),
    path("rollouts/<int:pk>/advance/", rollouts.RolloutAdvance.as_view(), name="rollout-advance"),
    path("rollouts/<int:pk>/abort/", rollouts.RolloutAbort.as_view(), name="rollout-abort"),
    path("rollouts/<int:pk>/retry/", rollouts.RolloutRetry.as_view(), name="rollout-retry"),
    path(
        "rollouts/<int:pk>/roll-back/", rollouts.RolloutRollBack.as_view(), name="rollout-roll-back"
    ),
    path("rollouts/<int:pk>/targets/", rollouts.RolloutTargets.as_view(), name="rollout-targets"),
    path("devices/<int:pk>/updates/", rollouts.DeviceUpdates.as_view(), name="device-updates"),
    path("policies/commands/", policies.CommandPolicy.as_view(), name="policy-commands"),
    path("policies/firmware/", policies.FirmwarePolicy.as_view(), name="policy-firmware"),
    path("approvals/", policies.ApprovalList.as_view(), name="approval-list"),
    path("signing-keys/", firmware.SigningKeyList.as_view(), name="signing-key-list"),
    path(
        "signing-keys/<int:pk>/retirement/",
        firmware.SigningKeyRetirement.as_view(),
        name="signing-key-retire",
    ),
    *billing_urls.resources,
    path("schema/", views.Schema.as_view(), name="schema"),
    # Line breaks too, which the converter `path` does not match.
    re_path(r"^(?P<path>[\s\S]*)\Z", views.Unknown.as_view(), name="unknown"),
]
urlpatterns = [*pages, *resources]
