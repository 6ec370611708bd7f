"""What the Django middleware does beyond the table: caches of Django's own, and ASGI."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from asgiref.sync import async_to_sync
from django.core.cache import cache
from django.test import AsyncClient, Client, override_settings

from tests.server_helpers.cases import GOOD

CACHED = [
    "convultra_cookie.KeepConvultraCookie",
    "django.middleware.cache.UpdateCacheMiddleware",
    "django.middleware.cache.FetchFromCacheMiddleware",
]
MEMORY = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "server-helpers"}}
SENT = f"_convultra={GOOD}"


@pytest.mark.usefixtures("django")
class TestDjango:
    @override_settings(CACHES=MEMORY)
    def test_a_page_from_django_s_cache_carries_each_visitor_s_own_cookie(self) -> None:
        cache.clear()
        with override_settings(MIDDLEWARE=CACHED, CONVULTRA_COOKIE_DOMAIN="shop.test"):
            first = Client().get("/", HTTP_COOKIE=SENT)
            second = Client().get("/")
            third = Client().get("/", HTTP_COOKIE=SENT)
        assert first["X-Made"] == second["X-Made"] == third["X-Made"]  # made once, then from the cache
        assert ["_convultra" in one.cookies for one in (first, second, third)] == [True, False, True]

    @override_settings(CONVULTRA_COOKIE_DOMAIN="shop.test")
    def test_it_works_under_asgi(self) -> None:
        client = AsyncClient()
        client.cookies.load(SENT)
        with ThreadPoolExecutor(1) as another_thread:  # this one may have the loop of the browser tests
            response = another_thread.submit(async_to_sync(client.get), "/").result()
        assert response.cookies["_convultra"].value == GOOD
