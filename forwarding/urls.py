"""What backends may ask about their events and adjustments, under `/v1/`."""

from django.urls import path

from forwarding import api

app_name = "forwarding"
urlpatterns = [
    path("events/<str:event_id>", api.event_status, name="event-status"),
    path("adjustments/<str:adjustment_id>", api.adjustment_status, name="adjustment-status"),
]
