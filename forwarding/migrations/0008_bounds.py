from datetime import UTC, datetime

import django.db.models.deletion
from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

ALWAYS = datetime(1970, 1, 1, tzinfo=UTC)


def keep_names(apps: Apps, _editor: BaseDatabaseSchemaEditor) -> None:
    """Let every name that the roll-ups have keep its rows, so that what was counted under it still belongs there."""
    days = apps.get_model("forwarding", "EventDay").objects.values_list("site_id", "name")
    counts = apps.get_model("forwarding", "DailyCount").objects.values_list("account__site_id", "event_name")
    event_name = apps.get_model("forwarding", "EventName")
    found = days.order_by().union(counts.exclude(event_name="").order_by())
    event_name.objects.bulk_create(
        (event_name(site_id=site, name=name, since=ALWAYS) for site, name in found.iterator()), batch_size=1000
    )


def note_tests(apps: Apps, _editor: BaseDatabaseSchemaEditor) -> None:
    """Note of the calls so far which ones carried a test."""
    uploads = apps.get_model("forwarding", "Upload").objects
    tests = apps.get_model("forwarding", "TestConversion").objects.all()
    uploads.filter(pk__in=tests.values("delivery__last_upload")).update(is_test=True)
    for upload in uploads.filter(finished_at=None):
        if tests.filter(delivery__in=upload.delivery_ids).exists():
            uploads.filter(pk=upload.pk).update(is_test=True)


class Migration(migrations.Migration):
    dependencies = [
        ("forwarding", "0007_reconciliation"),
        ("ingest", "0008_people"),
    ]

    operations = [
        migrations.CreateModel(
            name="EventName",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=64)),
                ("since", models.DateTimeField()),
                ("created_at", models.DateTimeField(auto_now_add=True)),
                (
                    "site",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="event_names",
                        to="ingest.site",
                    ),
                ),
            ],
            options={
                "constraints": [models.UniqueConstraint(fields=("site", "name"), name="event_name_once")],
            },
        ),
        migrations.AddField("bulkjob", "failures", models.PositiveSmallIntegerField(default=0)),
        migrations.AlterField(
            "bulkjob",
            "status",
            models.CharField(
                choices=[("running", "Running"), ("stopped", "Stopped"), ("failed", "Failed"), ("done", "Done")],
                default="running",
                max_length=8,
            ),
        ),
        migrations.AddField("upload", "is_test", models.BooleanField(default=False)),
        migrations.AddIndex(
            "upload",
            models.Index(
                condition=models.Q(("accepted__gt", 0)),
                fields=["account", "-started_at"],
                name="upload_newest_accepted",
            ),
        ),
        # Filled last: PostgreSQL changes no table whose new references are yet to be checked.
        migrations.RunPython(keep_names, migrations.RunPython.noop),
        migrations.RunPython(note_tests, migrations.RunPython.noop),
    ]
