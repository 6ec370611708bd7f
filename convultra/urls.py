"""Every address of the product, room by room."""

from django.conf import settings
from django.contrib import admin
from django.templatetags.static import static
from django.urls import include, path
from django.views.generic import RedirectView

from convultra.health import healthz
from dashboard.tickets.views import ticket

handler400 = "convultra.errors.bad_request"
handler403 = "convultra.errors.forbidden"
handler404 = "convultra.errors.not_found"
handler500 = "convultra.errors.server_error"

urlpatterns = [
    # Browsers ask for it by this name on pages that name no icon: the admin's and answers of the API.
    path("favicon.ico", RedirectView.as_view(url=static("favicon.svg"))),
    path("healthz", healthz, name="healthz"),
    path("v1/", include("forwarding.urls")),
    path("v1/", include("ingest.urls")),
    path("sdk/", include("ingest.sdk_urls")),
    path("admin/ticket/", ticket, name="staff-ticket"),
    path("admin/", admin.site.urls),
    path("", include("dashboard.people.sign_in_urls")),
    path("", include("dashboard.urls")),
]
if settings.DEMO:
    urlpatterns.append(path("demo/", include("dashboard.demo.urls")))
