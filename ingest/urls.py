"""The ingest API, under `/v1/`. `ingest/door.py` knows the same addresses: the collector answers before Django does."""

from django.urls import path

from ingest import openapi, views

app_name = "ingest"
urlpatterns = [
    path("openapi.json", openapi.document, name="openapi"),
    path("events", views.post, name="backend-events"),
    path("adjustments", views.post, name="backend-adjustments"),
    path("<str:write_key>/events", views.post, name="browser-events"),
    path("<str:write_key>/clicks", views.post, name="browser-clicks"),
]
