"""The look of tenants, and the doors to it: it is shown before anybody has signed in."""

from __future__ import annotations

import django.core.validators
import django.db.models.deletion
from django.db import migrations, models

from tenants.rowsecurity import EnableRowSecurity, Statements

# What applies to a tenant (each part from the nearest tenant at or above it that has set it), and
# the files of one tenant by the version that their addresses carry.
DOORS = Statements(
    [
        """CREATE FUNCTION door_brand_of(tenant bigint)
RETURNS TABLE (name text, colours_of bigint, colours_version text, logo_of bigint,
               logo_version text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
BEGIN ATOMIC
  WITH RECURSIVE up(id, parent_id, steps) AS (
    SELECT t.id, t.parent_id, 0 FROM public.tenants_tenant t WHERE t.id = tenant
    UNION ALL
    SELECT t.id, t.parent_id, up.steps + 1
    FROM up JOIN public.tenants_tenant t ON t.id = up.parent_id),
  own AS (
    SELECT b.tenant_id, b.name::text, b.accent_light, b.logo IS NOT NULL AS has_logo,
           b.version::text, up.steps
    FROM up JOIN public.tenants_branding b ON b.tenant_id = up.id)
  SELECT
    (SELECT own.name FROM own WHERE own.name <> '' ORDER BY steps LIMIT 1),
    colours.tenant_id, colours.version, logos.tenant_id, logos.version
  FROM (SELECT) one
  LEFT JOIN (SELECT own.tenant_id, own.version FROM own WHERE own.accent_light <> ''
             ORDER BY steps LIMIT 1) colours ON true
  LEFT JOIN (SELECT own.tenant_id, own.version FROM own WHERE own.has_logo
             ORDER BY steps LIMIT 1) logos ON true;
END""",
        """CREATE FUNCTION door_brand_files(tenant bigint, wanted text)
RETURNS TABLE (accent_light text, accent_dark text, logo bytea)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
BEGIN ATOMIC
  SELECT b.accent_light::text, b.accent_dark::text, b.logo
  FROM public.tenants_branding b WHERE b.tenant_id = tenant AND b.version = wanted;
END""",
        (
            "REVOKE EXECUTE ON FUNCTION door_brand_of(bigint), door_brand_files(bigint, text)"
            " FROM PUBLIC"
        ),
        (
            "GRANT EXECUTE ON FUNCTION door_brand_of(bigint), door_brand_files(bigint, text)"
            " TO {app}"
        ),
    ],
    ["DROP FUNCTION door_brand_of(bigint)", "DROP FUNCTION door_brand_files(bigint, text)"],
)


class Migration(migrations.Migration):
    dependencies = [
        ("tenants", "0010_languages"),
    ]

    operations = [
        migrations.CreateModel(
            name="Branding",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("name", models.CharField(blank=True, max_length=60)),
                (
                    "accent_light",
                    models.CharField(
                        blank=True,
                        max_length=7,
                        validators=[
                            django.core.validators.RegexValidator(
                                "\\A#[0-9a-f]{6}\\Z",
                                "Write the colour as # and six digits: #1d4ed8.",
                            )
                        ],
                    ),
                ),
                (
                    "accent_dark",
                    models.CharField(
                        blank=True,
                        max_length=7,
                        validators=[
                            django.core.validators.RegexValidator(
                                "\\A#[0-9a-f]{6}\\Z",
                                "Write the colour as # and six digits: #1d4ed8.",
                            )
                        ],
                    ),
                ),
                ("logo", models.BinaryField(blank=True, null=True)),
                ("version", models.CharField(max_length=24)),
                ("changed_at", models.DateTimeField(auto_now=True)),
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
                        fields=("tenant",), name="tenants_branding_one_per_tenant"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("accent_dark", ""), ("accent_light", "")),
                            models.Q(
                                ("accent_dark__regex", "^#[0-9a-f]{6}$"),
                                ("accent_light__regex", "^#[0-9a-f]{6}$"),
                            ),
                            _connector="OR",
                        ),
                        name="tenants_branding_accents_together",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("version", ""), _negated=True),
                        name="tenants_branding_versioned",
                    ),
                ],
            },
        ),
        EnableRowSecurity("tenants_branding", tenant_wide=True),
        DOORS,
    ]
