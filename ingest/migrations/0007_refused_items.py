"""What senders get wrong, so that the install page can say it."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("ingest", "0006_import_results"),
    ]

    operations = [
        migrations.CreateModel(
            name="RefusedItem",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "source",
                    models.CharField(
                        choices=[
                            ("browser", "JS SDK"),
                            ("server", "Server API"),
                            ("import", "CSV import"),
                            ("test", "Test Center"),
                        ],
                        max_length=8,
                    ),
                ),
                ("what", models.CharField(max_length=16)),
                ("member", models.CharField(blank=True, default="", max_length=128)),
                ("code", models.CharField(max_length=64)),
                ("first_at", models.DateTimeField()),
                ("last_at", models.DateTimeField()),
                (
                    "site",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="refused_items",
                        to="ingest.site",
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(
                        fields=("site", "source", "what", "member", "code"), name="refused_item_once_per_site"
                    )
                ],
            },
        ),
    ]
