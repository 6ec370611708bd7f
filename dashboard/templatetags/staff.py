"""What the staff's admin shows of a row beside its own columns: its page in the dashboard, and the lists around it."""

from typing import TYPE_CHECKING, NamedTuple

from django import template
from django.contrib.auth.models import User
from django.db.models import Model
from django.utils import timezone

from convultra.staff import list_address
from dashboard.frame import account_url, site_url, url_or_nothing
from dashboard.tickets.ticket import Ticket, ticket_of
from forwarding.models import Attempt, Delivery, Upload
from ingest.models import AuditEntry, Event, Import, Membership, Organisation, ServerKey, Site
from integrations.models import AdAccount, Connection, ConversionGoal, GoalMapping, MappingChange

if TYPE_CHECKING:
    from django.template.context import Context

register = template.Library()

# The tables whose rows belong to a row, with their column for it.
_AROUND: dict[type[Model], tuple[tuple[type[Model], str], ...]] = {
    Organisation: ((Site, "organisation"), (Membership, "organisation"), (AuditEntry, "organisation")),
    Site: (
        (Connection, "site"),
        (AdAccount, "site"),
        (Event, "site"),
        (Import, "site"),
        (ServerKey, "site"),
        (AuditEntry, "site"),
    ),
    Connection: ((AdAccount, "connection"),),
    AdAccount: (
        (Delivery, "account"),
        (Upload, "account"),
        (ConversionGoal, "account"),
        (GoalMapping, "account"),
        (MappingChange, "account"),
    ),
    Event: ((Delivery, "event"),),
    Delivery: ((Attempt, "delivery"),),
}


class Related(NamedTuple):
    """A list of the rows that belong to a row."""

    label: str
    href: str


@register.simple_tag
def lists_around(row: Model) -> list[Related]:
    """Return the lists of what belongs to a row, such as an account's deliveries."""
    its = _AROUND.get(type(row), ())
    return [Related(_plural(model), list_address(model, **{f"{column}__id__exact": row.pk})) for model, column in its]


def _plural(model: type[Model]) -> str:
    return str(model._meta.verbose_name_plural).capitalize()


@register.simple_tag(takes_context=True)
def present_ticket(context: "Context") -> Ticket | None:
    """Return the ticket that the person works on."""
    return ticket_of(context["request"], timezone.now())


@register.simple_tag(takes_context=True)
def page_in_dashboard(context: "Context", row: Model) -> str:
    """Return where the dashboard shows a row, "" where it shows none or the person is on no team that sees it.

    Staff see every customer's rows here; a customer's pages open to members only.
    """
    site = _site_of(row)
    user = context["request"].user
    if site is None or not isinstance(user, User) or not Site.objects.for_user(user).filter(pk=site.pk).exists():
        return ""
    match row:
        case AdAccount():
            return account_url(site, row)
        case Delivery():
            return url_or_nothing("account-delivery", site.public_id, row.account.account_id, row.public_id)
        case Event():
            return url_or_nothing("event", site.public_id, row.event_id)
        case Import():
            return url_or_nothing("import", site.public_id, row.public_id)
        case Connection():
            return url_or_nothing("integrations", site.public_id)
    return site_url(site)


def _site_of(row: Model) -> Site | None:
    match row:
        case Site():
            return row
        case Event() | Import() | Connection() | AdAccount():
            return row.site
        case Delivery():
            return row.account.site
    return None
