"""Every address of the product, room by room."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("v1/", include("ingest.urls")),
    path("admin/", admin.site.urls),
]
