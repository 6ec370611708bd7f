"""The ingest API, under `/v1/`."""

from django.urls import path

from ingest import views

app_name = "ingest"
urlpatterns = [
    path("events", views.backend_events, name="backend-events"),
    path("adjustments", views.backend_adjustments, name="backend-adjustments"),
    path("<str:write_key>/events", views.browser_events, name="browser-events"),
    path("<str:write_key>/clicks", views.browser_clicks, name="browser-clicks"),
]
