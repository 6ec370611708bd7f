"""The ingest API, under `/v1/`."""

from django.urls import URLPattern

app_name = "ingest"
urlpatterns: list[URLPattern] = []
