"""The SDK's file, under `/sdk/`: by its version for ever, and as the newest of version 1."""

from django.urls import path

from ingest import views

urlpatterns = [
    path("convultra.v1.js", views.sdk, name="sdk-v1"),
    path("convultra.js", views.sdk, name="sdk"),
]
