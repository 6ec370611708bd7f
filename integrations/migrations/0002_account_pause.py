from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("integrations", "0001_initial"),
    ]

    operations = [
        migrations.AddField(
            model_name="adaccount",
            name="paused_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
    ]
