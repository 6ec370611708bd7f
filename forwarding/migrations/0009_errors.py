from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("forwarding", "0008_bounds"),
    ]

    operations = [
        migrations.AddIndex(
            "delivery",
            models.Index(
                condition=models.Q(
                    ("error_code__isnull", False), models.Q(("error_symbol", ""), _negated=True), _connector="OR"
                ),
                fields=["account", "-created_at", "-id", "error_code", "error_symbol", "status", "kind", "is_test"],
                name="delivery_with_error",
            ),
        ),
    ]
