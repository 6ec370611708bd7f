"""What happens to requests of the API before any other middleware sees them."""

from django.http import HttpRequest
from django.utils.deprecation import MiddlewareMixin

API_PREFIX = "/v1/"


class WithoutCookies(MiddlewareMixin):
    """Takes the cookies off requests to the API, so that no session is read there and no cookie set or deleted.

    A page on our own host, the demo's shop for one, sends them along without being asked.
    """

    def process_request(self, request: HttpRequest) -> None:
        """Forget the Cookie header; `request.COOKIES` is parsed from it at first use."""
        if request.path_info.startswith(API_PREFIX):
            request.META.pop("HTTP_COOKIE", None)
