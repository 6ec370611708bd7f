"""Which audit entries a person may read, and which of them they asked for."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import reduce
from operator import or_

from django import forms
from django.db.models import Q, QuerySet

from dashboard.audit import words
from dashboard.audit.links import href_of
from dashboard.audit.words import Change, Sentence
from dashboard.csv_files import give_back, head, moment, written
from dashboard.list_filters import ListFilter
from dashboard.people.invitations import name_of
from ingest.audit import SERVER
from ingest.models import AuditEntry, Membership, Role, Site

PAGE_ROWS = 50
ROWS_AT_ONCE = 1000
MAX_SEARCH_CHARS = 100
STAFF = "Convultra staff"
STAFFS_MARK = "by_staff"  # what an entry's details have when it was done in the admin
BY_STAFF, BY_SERVER = "staff", "server"
# What people look for together, by the things of its actions.
KINDS = {
    "conversions": ("Conversions", ("delivery", "bulk", "event", "test")),
    "mapping": ("Goals and mapping", ("mapping", "goal")),
    "accounts": ("Accounts and sign-ins", ("account", "sign_in")),
    "team": ("Team", ("invitation", "membership", "organisation")),
    "sites": ("Sites", ("site",)),
    "keys": ("API keys", ("server_key", "serverkey")),
    "imports": ("Imports", ("import",)),
}
PERIODS = {"1": "Last 24 hours", "7": "Last 7 days", "30": "Last 30 days", "90": "Last 90 days"}
HEADER = ("When (UTC)", "Who", "What", "Target", "Site", "Field", "Before", "After", "Action")


@dataclass(frozen=True)
class Line:
    """An entry in words."""

    id: int
    at: datetime
    who: str
    what: Sentence
    href: str
    site: str
    changes: list[Change]
    action: str


@dataclass(frozen=True)
class Reader:
    """Who reads: a membership, the sites it opens, and the user ids of the team, whose names may be told."""

    membership: Membership
    sites: Sequence[Site]
    team: frozenset[int]

    def entries(self) -> QuerySet[AuditEntry]:
        """Return what they may read: everything of the organisation, or of their sites and nothing of no site."""
        rows = AuditEntry.objects.filter(organisation=self.membership.organisation_id)
        return rows if self.membership.all_sites else rows.filter(site__in=self.sites)

    def by_staff(self) -> Q:
        """Tell what Convultra's staff did: said by the entry, or done by staff who are not on the team."""
        return Q(details__has_key=STAFFS_MARK) | (Q(actor__is_staff=True) & ~Q(actor__in=self.team))

    def by_others(self) -> Q:
        """Tell the rest, whose names may be searched. Not the negation: where no actor is left, SQL knows neither."""
        named = Q(actor=None) | Q(actor__is_staff=False) | Q(actor__in=self.team)
        return named & ~Q(details__has_key=STAFFS_MARK)


class FilterForm(ListFilter):
    """The list's query string. `people` are those who may be asked for: members, staff and the server."""

    q = forms.CharField(max_length=MAX_SEARCH_CHARS, required=False)
    site = forms.ModelChoiceField(Site.objects.none(), to_field_name="public_id", required=False)
    person = forms.CharField(max_length=20, required=False)
    kind = forms.ChoiceField(choices=[(value, label) for value, (label, _) in KINDS.items()], required=False)
    days = forms.ChoiceField(choices=PERIODS.items(), required=False)
    before = forms.IntegerField(min_value=1, max_value=2**63 - 1, required=False)

    names = {"q": "search", "site": "site", "person": "person", "kind": "action", "days": "period"}

    def __init__(self, data: Mapping[str, object], organisation_sites: QuerySet[Site], people: Collection[str]) -> None:
        super().__init__(data)
        self.people = people
        site = self.fields["site"]
        assert isinstance(site, forms.ModelChoiceField)
        site.queryset = organisation_sites
        self.is_valid()

    def clean_person(self) -> str:
        """Refuse who is nobody to choose, such as a member who has left."""
        chosen: str = self.cleaned_data["person"]
        if chosen and chosen not in self.people:
            raise forms.ValidationError("Choose a person of the list.")
        return chosen

    def asked(self, reader: Reader, team: Mapping[str, int], now: datetime) -> QuerySet[AuditEntry]:
        """Return the entries that are asked for, newest first. `team` has the user's id by membership."""
        given = self.cleaned_data
        rows = reader.entries()
        if given.get("site"):
            rows = rows.filter(site=given["site"])
        if given.get("kind"):
            _, things = KINDS[given["kind"]]
            rows = rows.filter(reduce(or_, (Q(action__startswith=f"{thing}.") for thing in things)))
        if given.get("days"):
            rows = rows.filter(created_at__gte=now - timedelta(days=int(given["days"])))
        person = given.get("person", "")
        if person == BY_STAFF:
            rows = rows.filter(reader.by_staff())
        elif person == BY_SERVER:
            rows = rows.filter(actor=None, actor_name=SERVER)
        elif person in team:
            rows = rows.filter(actor=team[person])
        text = given.get("q", "")
        if text:
            who = Q(actor_name__icontains=text) & reader.by_others()
            rows = rows.filter(Q(target__icontains=text) | Q(action__icontains=text) | who)
        return rows.select_related("site", "actor", "organisation").order_by("-pk")

    @property
    def is_filtered(self) -> bool:
        """Say whether anything but the page is chosen."""
        return any(self.cleaned_data.get(name) for name in self.names)


def line_of(entry: AuditEntry, reader: Reader) -> Line:
    """Put an entry in words."""
    return Line(
        entry.pk,
        entry.created_at,
        actor_of(entry, reader.team),
        words.sentence(entry.action, entry.target, entry.details),
        href_of(entry, Role(reader.membership.role)),
        entry.site.name if entry.site else "",
        words.changes(entry.details),
        entry.action,
    )


def csv_lines(rows: QuerySet[AuditEntry], reader: Reader) -> Iterator[str]:
    """Yield the file in pieces: its header, then up to ROWS_AT_ONCE entries at a time, a row for each field."""
    yield head(HEADER)
    before: int | None = None
    while True:
        stretch = list((rows if before is None else rows.filter(pk__lt=before))[:ROWS_AT_ONCE])
        if stretch:
            yield written([cells for entry in stretch for cells in _cells(line_of(entry, reader))])
        give_back()
        if len(stretch) < ROWS_AT_ONCE:
            return
        before = stretch[-1].pk


def _cells(line: Line) -> Iterator[list[str]]:
    for change in line.changes or [Change("", "", "")]:
        yield [moment(line.at), line.who, str(line.what), line.what.target, line.site, *change, line.action]


def actor_of(entry: AuditEntry, team: Collection[int]) -> str:
    """Return who did it, as the team of these user ids may read it."""
    if STAFFS_MARK in entry.details:
        return STAFF
    if entry.actor is None:
        return entry.actor_name
    if entry.actor.is_staff and entry.actor.pk not in team:
        return STAFF
    return name_of(entry.actor)
