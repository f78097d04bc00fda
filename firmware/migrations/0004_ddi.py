"""Devices that speak hawkBit's DDI: behind the wall, with the door that finds them."""

from __future__ import annotations

import django.core.validators
import django.db.models.deletion
import django.db.models.functions.text
import django.db.models.lookups
from django.db import migrations, models

from tenants.rowsecurity import EnableRowSecurity, Statements

# Who asks is known by the short name of a tenant and the serial of a device; what opens them is
# compared by who asks here. A device whose type is not updated over DDI is none, and the token of a
# tenant that the device has left opens nothing.
DOOR = Statements(
    [
        """CREATE FUNCTION door_ddi(tenant text, controller text)
RETURNS TABLE (tenant_id bigint, device_id bigint, facility_id bigint, active boolean,
               target_sha256 bytea, gateway_sha256 bytea, polling_s integer,
               busy_polling_s integer, handling text, confirmation boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
BEGIN ATOMIC
  SELECT t.id, d.id, d.facility_id, d.state = 'active', k.token_sha256, s.gateway_sha256,
         coalesce(s.polling_s, 300), coalesce(s.busy_polling_s, 30),
         coalesce(s.handling::text, 'forced'), coalesce(s.confirmation, false)
  FROM public.tenants_tenant t
  LEFT JOIN public.firmware_ddisettings s ON s.tenant_id = t.id
  LEFT JOIN (public.devices_device d JOIN public.devices_devicetype y ON y.id = d.device_type_id
                                     AND 'ddi' = ANY (y.capabilities))
    ON d.serial = controller AND d.tenant_id = t.id
  LEFT JOIN public.firmware_dditarget k ON k.device_id = d.id AND k.tenant_id = t.id
  WHERE t.slug = tenant;
END""",
        "REVOKE EXECUTE ON FUNCTION door_ddi(text, text) FROM PUBLIC",
        "GRANT EXECUTE ON FUNCTION door_ddi(text, text) TO {app}",
    ],
    ["DROP FUNCTION door_ddi(text, text)"],
)

# Devices that keep no connection are told about by the application, in the scope of each.
PRESENCE = Statements(
    ["GRANT UPDATE (last_seen_at, firmware_version) ON device_link TO {app}"],
    ["REVOKE UPDATE (last_seen_at, firmware_version) ON device_link FROM {app}"],
)


class Migration(migrations.Migration):
    dependencies = [
        ("devices", "0030_control"),
        ("firmware", "0003_rollouts"),
        ("tenants", "0017_sign_on_methods"),
    ]

    operations = [
        migrations.CreateModel(
            name="DdiAction",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("update_uid", models.UUIDField(unique=True)),
                ("created_at", models.DateTimeField()),
                ("retrieved_at", models.DateTimeField(null=True)),
                ("agreed_at", models.DateTimeField(null=True)),
                ("refused_at", models.DateTimeField(null=True)),
                ("feedbacks", models.PositiveIntegerField(default=0)),
                ("closed_at", models.DateTimeField(null=True)),
                (
                    "outcome",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("success", "Success"),
                            ("failure", "Failure"),
                            ("canceled", "Cancelled"),
                            ("denied", "Declined"),
                            ("untold", "Not asked for"),
                        ],
                        max_length=8,
                    ),
                ),
                (
                    "device",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="devices.device",
                    ),
                ),
                (
                    "target",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="firmware.rollouttarget",
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tenants.tenant",
                    ),
                ),
            ],
            options={
                "ordering": ["-pk"],
                "indexes": [
                    models.Index(
                        condition=models.Q(("closed_at__isnull", True)),
                        fields=["device", "id"],
                        name="firmware_ddiaction_open",
                    ),
                    models.Index(
                        condition=models.Q(("outcome", "success")),
                        fields=["device", "-id"],
                        name="firmware_ddiaction_installed",
                    ),
                ],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            (
                                "outcome__in",
                                ["", "success", "failure", "canceled", "denied", "untold"],
                            )
                        ),
                        name="firmware_ddiaction_outcome_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("closed_at__isnull", True), ("outcome", "")),
                            models.Q(
                                ("closed_at__isnull", False),
                                models.Q(("outcome", ""), _negated=True),
                            ),
                            _connector="OR",
                        ),
                        name="firmware_ddiaction_closed_whole",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="DdiSettings",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "polling_s",
                    models.PositiveIntegerField(
                        default=300,
                        validators=[
                            django.core.validators.MinValueValidator(5),
                            django.core.validators.MaxValueValidator(86399),
                        ],
                    ),
                ),
                (
                    "busy_polling_s",
                    models.PositiveIntegerField(
                        default=30,
                        validators=[
                            django.core.validators.MinValueValidator(5),
                            django.core.validators.MaxValueValidator(86399),
                        ],
                    ),
                ),
                (
                    "handling",
                    models.CharField(
                        choices=[
                            ("forced", "The device updates at once"),
                            ("attempt", "The device chooses the moment"),
                        ],
                        default="forced",
                        max_length=8,
                    ),
                ),
                ("confirmation", models.BooleanField(default=False)),
                ("gateway_sha256", models.BinaryField(blank=True, max_length=32, null=True)),
                ("gateway_issued_at", models.DateTimeField(blank=True, null=True)),
                (
                    "tenant",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tenants.tenant",
                    ),
                ),
            ],
            options={
                "ordering": ["pk"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("tenant",), name="firmware_ddisettings_one_per_tenant"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            ("busy_polling_s__gte", 5),
                            ("busy_polling_s__lte", 86399),
                            ("polling_s__gte", 5),
                            ("polling_s__lte", 86399),
                        ),
                        name="firmware_ddisettings_polling_range",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("handling__in", ["forced", "attempt"])),
                        name="firmware_ddisettings_handling_known",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("gateway_issued_at__isnull", True),
                                ("gateway_sha256__isnull", True),
                            ),
                            models.Q(
                                django.db.models.lookups.Exact(
                                    django.db.models.functions.text.Length("gateway_sha256"), 32
                                ),
                                models.Q(("gateway_issued_at__isnull", False)),
                            ),
                            _connector="OR",
                        ),
                        name="firmware_ddisettings_gateway_whole",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="DdiTarget",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("token_sha256", models.BinaryField(blank=True, max_length=32, null=True)),
                ("token_issued_at", models.DateTimeField(blank=True, null=True)),
                ("attributes", models.JSONField(blank=True, default=dict)),
                ("attributes_at", models.DateTimeField(blank=True, null=True)),
                ("attributes_wanted", models.BooleanField(default=True)),
                ("auto_confirm_at", models.DateTimeField(blank=True, null=True)),
                ("auto_confirm_by", models.CharField(blank=True, max_length=64)),
                ("auto_confirm_remark", models.CharField(blank=True, max_length=512)),
                (
                    "device",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="devices.device",
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tenants.tenant",
                    ),
                ),
            ],
            options={
                "ordering": ["pk"],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("tenant", "device"), name="firmware_dditarget_one_per_device"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(
                                ("token_issued_at__isnull", True), ("token_sha256__isnull", True)
                            ),
                            models.Q(
                                django.db.models.lookups.Exact(
                                    django.db.models.functions.text.Length("token_sha256"), 32
                                ),
                                models.Q(("token_issued_at__isnull", False)),
                            ),
                            _connector="OR",
                        ),
                        name="firmware_dditarget_token_whole",
                    ),
                ],
            },
        ),
        EnableRowSecurity("firmware_ddisettings", tenant_wide=True),
        EnableRowSecurity("firmware_dditarget", device_column="device_id", checks_device=True),
        EnableRowSecurity("firmware_ddiaction", device_column="device_id", checks_device=True),
        DOOR,
        PRESENCE,
    ]
