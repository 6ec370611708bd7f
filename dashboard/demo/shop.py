"""The demo shop: one page with the real SDK on it. Served only where DEMO is set."""

from urllib.parse import urljoin

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse

from dashboard.demo.seeding import ACCOUNT_ID, SHOP
from ingest.models import Site


def shop(request: HttpRequest) -> HttpResponse:
    """Show the shop; what is bought there goes the whole road."""
    site = Site.objects.filter(name=SHOP).first() if settings.DEMO else None
    if site is None:
        raise Http404
    account = site.ad_accounts.filter(account_id=ACCOUNT_ID).first()
    logs = reverse("dashboard:account-logs", args=[site.public_id, ACCOUNT_ID]) if account else ""
    ctx = {
        "site": site,
        "products": PRODUCTS,
        "logs_url": logs,
        "ledger_url": urljoin(settings.MICROSOFT_CAMPAIGN_URL, f"/_emulator/ledger?account_id={ACCOUNT_ID}"),
        "search_url": urljoin(settings.MICROSOFT_LOGIN_URL, "/_emulator/search"),
    }
    return render(request, "demo/shop.html", ctx)


PRODUCTS = (
    {"name": "Garden bench", "text": "Oiled oak, seats three.", "value": "129.95"},
    {"name": "Harbor lantern", "text": "Brass and wavy glass.", "value": "84.00"},
    {"name": "Pine doormat", "text": "For boots that have seen weather.", "value": "24.50"},
)
