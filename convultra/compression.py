"""Answers travel compressed where that makes them smaller, whether a page, an export or a file of ours."""

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.middleware.gzip import GZipMiddleware

# Fonts and pictures are compressed already.
COMPRESSIBLE = ("text/", "application/javascript", "application/json", "image/svg+xml")


class CompressionMiddleware(GZipMiddleware):
    """Django's own, which makes each answer's length unsteady so that it betrays no secret (BREACH)."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        """Compress text; part of a file (206) stays as it was asked for."""
        kind = response.headers.get("Content-Type", "")
        if response.status_code == 206 or not kind.startswith(COMPRESSIBLE):
            return response
        return super().process_response(request, response)
