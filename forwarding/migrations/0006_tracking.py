from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("forwarding", "0005_pages")]

    operations = [
        migrations.AddIndex(
            model_name="upload",
            index=models.Index(
                condition=models.Q(("tracking_id", ""), _negated=True),
                fields=["account", "tracking_id"],
                name="upload_by_tracking",
            ),
        ),
    ]
