"""Whose rows the tables of the admin hold: a customer's, a person's on customers' teams, or the machine's own."""

from collections.abc import Collection
from typing import NamedTuple

from django.contrib.auth.models import User
from django.core.exceptions import FieldDoesNotExist
from django.db.models import ForeignKey, Model

from ingest.models import Membership, Organisation, Site

# Tables without any customer's rows.
OF_THE_MACHINE = {
    "auth.group",
    "django_q.schedule",
    "django_q.success",
    "django_q.failure",
    "django_q.ormq",
    "ingest.bucket",
    "forwarding.breaker",
    "forwarding.heartbeat",
}
# Tables about people, who belong to customers by their memberships: their column, and the user's that it holds.
OF_PEOPLE = {
    "auth.user": ("pk", "pk"),
    "account.emailaddress": ("user_id", "pk"),
    "mfa.authenticator": ("user_id", "pk"),
    "axes.accessattempt": ("username", "username"),
    "axes.accesslog": ("username", "username"),
    "axes.accessfailurelog": ("username", "username"),
}
# The columns by which rows belong to a row that belongs to a customer.
_WAYS = ("site", "account", "delivery", "source")


class Owner(NamedTuple):
    """The customer whose row it is, and the site where it is a site's."""

    organisation: Organisation
    site: Site | None


def owners_of(model: type[Model], pks: Collection[object]) -> dict[object, list[Owner]]:
    """Return by its primary key whose each row is; nobody's are left out. The same few queries for many as for one."""
    label = model._meta.label_lower
    if label in OF_PEOPLE:
        return _of_people(model, pks, *OF_PEOPLE[label])
    way = None if label in OF_THE_MACHINE else ways_to(model)
    if way is None:
        return {}
    rows = list(model._default_manager.filter(pk__in=pks).values_list("pk", *filter(None, way)))
    organisations = Organisation.objects.in_bulk([row[1] for row in rows])
    sites = Site.objects.in_bulk([row[2] for row in rows if row[2]]) if way[1] else {}
    return {
        pk: [Owner(organisations[its], sites.get(site[0]) if site else None)]
        for pk, its, *site in rows
        if its in organisations
    }


def ways_to(model: type[Model]) -> tuple[str, str] | None:
    """Return the lookups from a table to its organisation and to its site, "" for none; None where there is no way."""
    if model is Organisation:
        return "pk", ""
    if model is Site:
        return "organisation", "pk"
    if _has(model, "organisation"):
        return "organisation", "site" if _has(model, "site") else ""
    for name in _WAYS:
        if _has(model, name):
            beyond = ways_to(_other_side(model, name))
            if beyond is not None:
                return f"{name}__{beyond[0]}", f"{name}__{beyond[1]}" if beyond[1] else ""
    return None


def _of_people(model: type[Model], pks: Collection[object], column: str, of_the_user: str) -> dict[object, list[Owner]]:
    rows = dict(model._default_manager.filter(pk__in=pks).values_list("pk", column))
    members = Membership.objects.filter(**{f"user__{of_the_user}__in": set(rows.values())})
    by_person: dict[object, list[Owner]] = {}
    for member in members.select_related("organisation", "user").order_by("pk"):
        by_person.setdefault(getattr(member.user, of_the_user), []).append(Owner(member.organisation, None))
    return {pk: by_person[its] for pk, its in rows.items() if its in by_person}


def owners_of_person(user: User) -> list[Owner]:
    """Return the customers on whose teams a person is."""
    return owners_of(User, [user.pk]).get(user.pk, [])


def _has(model: type[Model], name: str) -> bool:
    try:
        return isinstance(model._meta.get_field(name), ForeignKey)
    except FieldDoesNotExist:
        return False


def _other_side(model: type[Model], name: str) -> type[Model]:
    other = model._meta.get_field(name).related_model
    assert isinstance(other, type)
    return other
