"""Where an error page leads on to: the person's site, and its search."""

import re
from typing import TYPE_CHECKING, NamedTuple
from uuid import UUID

from django import template
from django.contrib.auth.models import User

from dashboard.frame import site_url, url_or_nothing
from ingest.models import Site

if TYPE_CHECKING:
    from django.template.context import Context

register = template.Library()
_IN_A_SITE = re.compile(r"/s/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})/")


class Ways(NamedTuple):
    """Addresses to go on to, "" where there is none."""

    is_signed_in: bool = False
    site_name: str = ""
    site_href: str = ""
    search_href: str = ""


@register.simple_tag(takes_context=True)
def ways_on(context: "Context") -> Ways:
    """Return the ways on for who asked: the site of the address where they may enter it, else their first one."""
    request = context.get("request")
    user = getattr(request, "user", None)
    if request is None or not isinstance(user, User):
        return Ways()
    sites = Site.objects.for_user(user)
    found = _IN_A_SITE.match(request.path)
    site = sites.filter(public_id=UUID(found[1])).first() if found else None
    site = site or sites.order_by("name", "pk").first()
    if site is None:
        return Ways(is_signed_in=True)
    return Ways(True, site.name, site_url(site), url_or_nothing("events", site.public_id))
