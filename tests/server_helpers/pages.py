"""A small Django site: one page that is made as the query says, and a shop with the SDK on it."""

from itertools import count
from pathlib import Path
from threading import Event

from django.http import FileResponse, HttpRequest, HttpResponse, JsonResponse
from django.urls import path, re_path

SDK = Path(__file__).parents[2] / "static/sdk/convultra.v1.js"
HEAD = '<!doctype html><title>Shop</title><link rel="icon" href="data:,">'
SHOP = HEAD + '<script src="/sdk.js" data-key="wk_test"></script>'

made = count(1)
late_asked, late_answered = Event(), Event()


def page(request: HttpRequest) -> HttpResponse:
    """Answer with the content type, the caching and the cookie that the query names."""
    response = HttpResponse(HEAD, content_type=request.GET.get("type"))
    response["X-Made"] = next(made)
    if caching := request.GET.get("caching"):
        response["Cache-Control"] = caching
    if own := request.GET.get("own"):
        response.cookies.load(own)
    return response


def shop(_request: HttpRequest) -> HttpResponse:
    """Answer with a page that loads the SDK."""
    return HttpResponse(SHOP)


def late(_request: HttpRequest) -> HttpResponse:
    """Answer with a page, once the test lets it."""
    late_asked.set()
    assert late_answered.wait(30)
    return HttpResponse(SHOP)


def script(_request: HttpRequest) -> FileResponse:
    """Answer with the SDK as it is served to customers."""
    return FileResponse(SDK.open("rb"), content_type="text/javascript")


def door(_request: HttpRequest) -> JsonResponse:
    """Take what the SDK sends."""
    return JsonResponse({"results": []}, status=202)


urlpatterns = [
    path("", page),
    path("shop", shop),
    path("late", late),
    path("sdk.js", script),
    re_path("^v1/", door),
]
