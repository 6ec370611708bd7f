import django.db.models.deletion
from django.db import migrations, models


def count_without_waiting_for_the_disk(_apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("ALTER TABLE ingest_bucket SET UNLOGGED")


class Migration(migrations.Migration):
    dependencies = [
        ("ingest", "0003_fewer_indexes"),
    ]

    operations = [
        migrations.CreateModel(
            name="Bucket",
            fields=[
                ("name", models.CharField(max_length=80, primary_key=True, serialize=False)),
                ("used", models.FloatField()),
                ("granted", models.FloatField()),
                ("at", models.FloatField()),
            ],
        ),
        migrations.RunPython(count_without_waiting_for_the_disk, migrations.RunPython.noop),
        migrations.CreateModel(
            name="BlockedOrigin",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("origin", models.CharField(max_length=255)),
                ("first_at", models.DateTimeField()),
                ("last_at", models.DateTimeField()),
                (
                    "site",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="blocked_origins", to="ingest.site"
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("site", "origin"), name="blocked_origin_once_per_site")
                ],
            },
        ),
    ]
