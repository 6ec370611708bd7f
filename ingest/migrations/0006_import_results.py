"""What became of an import, as it was last counted."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("ingest", "0005_imports"),
    ]

    operations = [
        migrations.AddField(
            model_name="import",
            name="count_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="import",
            name="results",
            field=models.JSONField(default=dict),
        ),
    ]
