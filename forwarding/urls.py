"""What backends may ask about their events, under `/v1/`."""

from django.urls import path

from forwarding import api

app_name = "forwarding"
urlpatterns = [path("events/<str:event_id>", api.event_status, name="event-status")]
