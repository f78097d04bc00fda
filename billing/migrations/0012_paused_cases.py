"""A person may let a case of dunning rest for some days."""

from django.db import migrations, models

_KINDS = [
    ("reminder", "Reminder"),
    ("fee", "Dunning with a fee"),
    ("limit", "Power limited"),
    ("disable", "Supply switched off"),
    ("spared", "Not cut off: protected"),
    ("restored", "Supply restored"),
    ("paused", "Paused"),
    ("resumed", "Goes on"),
    ("closed", "Closed"),
]


class Migration(migrations.Migration):
    dependencies = [
        ("billing", "0011_unbilled"),
    ]

    operations = [
        migrations.AddField(
            model_name="dunningcase",
            name="paused_until",
            field=models.DateField(blank=True, null=True),
        ),
        migrations.RemoveConstraint(
            model_name="dunningevent",
            name="billing_dunningevent_kind_known",
        ),
        migrations.AlterField(
            model_name="dunningevent",
            name="kind",
            field=models.CharField(choices=_KINDS, max_length=12),
        ),
        migrations.AddConstraint(
            model_name="dunningevent",
            constraint=models.CheckConstraint(
                condition=models.Q(kind__in=[code for code, _label in _KINDS]),
                name="billing_dunningevent_kind_known",
            ),
        ),
    ]
