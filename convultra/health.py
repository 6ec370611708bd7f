"""Whether the process is up, for load balancers. It asks nobody: a database that is away must not end the process."""

from django.http import HttpRequest, HttpResponse


def healthz(request: HttpRequest) -> HttpResponse:  # noqa: ARG001
    """Answer `ok`."""
    return HttpResponse("ok\n", content_type="text/plain")
