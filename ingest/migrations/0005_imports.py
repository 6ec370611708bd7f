"""Imports: CSV files of conversions, and their rows a thousand at a time."""

import uuid

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("ingest", "0004_limits_and_blocked_origins"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Import",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("public_id", models.UUIDField(default=uuid.uuid4, editable=False, unique=True)),
                ("file_name", models.CharField(max_length=200)),
                (
                    "format",
                    models.CharField(
                        choices=[("convultra", "Convultra's template"), ("microsoft", "Microsoft's template")],
                        max_length=10,
                    ),
                ),
                ("time_zone", models.CharField(max_length=64)),
                (
                    "date_order",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("day-first", "Day first: 03/04 is April 3"),
                            ("month-first", "Month first: 03/04 is March 4"),
                        ],
                        default="",
                        max_length=12,
                    ),
                ),
                ("delimiter", models.CharField(max_length=1)),
                ("labels", models.JSONField(default=dict)),
                ("ignored", models.JSONField(default=list)),
                ("actor_name", models.CharField(max_length=254)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("reading", "Being uploaded"),
                            ("checking", "Checking rows"),
                            ("checked", "Waits for you"),
                            ("importing", "Importing"),
                            ("done", "Imported"),
                            ("cancelled", "Cancelled"),
                        ],
                        default="reading",
                        max_length=10,
                    ),
                ),
                ("total_rows", models.PositiveIntegerField(default=0)),
                ("checked_rows", models.PositiveIntegerField(default=0)),
                ("stored_rows", models.PositiveIntegerField(default=0)),
                ("verdicts", models.JSONField(default=dict)),
                ("outcomes", models.JSONField(default=dict)),
                ("problems", models.JSONField(default=dict)),
                ("rung_at", models.DateTimeField(blank=True, null=True)),
                ("confirmed_at", models.DateTimeField(blank=True, null=True)),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                ("created_at", models.DateTimeField()),
                (
                    "actor",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "site",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="imports",
                        to="ingest.site",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="ImportChunk",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("number", models.PositiveIntegerField()),
                ("rows", models.JSONField()),
                ("verdicts", models.JSONField(default=list)),
                ("checked_at", models.DateTimeField(blank=True, null=True)),
                ("stored_at", models.DateTimeField(blank=True, null=True)),
                ("created_at", models.DateTimeField()),
                (
                    "source",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="chunks",
                        to="ingest.import",
                    ),
                ),
            ],
        ),
        migrations.AddIndex(
            model_name="import",
            index=models.Index(fields=["site", "-id"], name="import_newest"),
        ),
        migrations.AddIndex(
            model_name="import",
            index=models.Index(
                condition=models.Q(("status__in", ("checking", "importing"))), fields=["id"], name="import_unfinished"
            ),
        ),
        migrations.AddConstraint(
            model_name="importchunk",
            constraint=models.UniqueConstraint(fields=("source", "number"), name="import_chunk_once"),
        ),
    ]
