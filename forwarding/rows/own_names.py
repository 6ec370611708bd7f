"""Which event names have rows of their own in the roll-ups, and which are counted together as other ones.

Anybody may read a page's write key and send any name with it, and the roll-ups keep rows for each name and day. So a
site's first MOST_NAMES names have rows of their own, and whatever is mapped to a goal, from then on. What was counted
before stays where it is, and counting anew finds it there.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from django.db.models import Case, CharField, Count, Exists, F, OuterRef, Q, Value, When

from forwarding.models import OTHER_NAMES, EventName

# Several times what a busy shop uses.
MOST_NAMES = 200
# Since when a name has its rows that came while there was room: none of its events was counted elsewhere.
ALWAYS = datetime(1970, 1, 1, tzinfo=UTC)


class SiteName(NamedTuple):
    """An event name of a site."""

    site_id: int
    name: str


def named_as(name: str, since: datetime | None, planned_at: datetime) -> str:
    """Return what an event planned at a moment is counted as; `since` is when its name got rows of its own, if ever."""
    return name if since is not None and since <= planned_at else OTHER_NAMES


def newcomers(
    unknown: Iterable[SiteName], mapped: Collection[SiteName], taken: Mapping[int, int], now: datetime
) -> dict[SiteName, datetime]:
    """Return which names get rows of their own now, and since when; `taken` has how many a site has already."""
    chosen: dict[SiteName, datetime] = {}
    names = dict(taken)
    for one in unknown:
        has_room = names.get(one.site_id, 0) < MOST_NAMES
        if has_room or one in mapped:
            chosen[one] = ALWAYS if has_room else now
            names[one.site_id] = names.get(one.site_id, 0) + 1
    return chosen


def admit(arrived: Iterable[SiteName], mapped: Collection[SiteName], now: datetime) -> dict[SiteName, datetime]:
    """Give rows of their own to the names that may have them; return since when each that arrived has.

    Call it in a transaction that has locked the sites. One query where all are known, three otherwise.
    """
    names = list(dict.fromkeys(arrived))
    known = own_names(names)
    unknown = [one for one in names if one not in known]
    if unknown:
        sites = {one.site_id for one in unknown}
        taken = EventName.objects.filter(site__in=sites).values_list("site_id").annotate(Count("pk")).order_by()
        new = newcomers(unknown, mapped, dict(taken), now)
        EventName.objects.bulk_create(EventName(site_id=site, name=name, since=at) for (site, name), at in new.items())
        known |= new
    return known


def own_names(asked: Collection[SiteName]) -> dict[SiteName, datetime]:
    """Return since when these names have rows of their own, in one query; those that have none are left out."""
    if not asked:
        return {}
    rows = EventName.objects.filter(site__in={one.site_id for one in asked}, name__in={one.name for one in asked})
    return {SiteName(site, name): since for site, name, since in rows.values_list("site_id", "name", "since")}


def own_names_in(asked: Collection[tuple[int, str]]) -> dict[tuple[int, str], datetime]:
    """Return the same of names in accounts, each an account's key and a name."""
    if not asked:
        return {}
    accounts, names = {account for account, _ in asked}, {name for _, name in asked}
    rows = EventName.objects.filter(site__ad_accounts__in=accounts, name__in=names)
    return {(account, name): since for account, name, since in rows.values_list("site__ad_accounts", "name", "since")}


def named_in_sql(site: str, name: str, planned_at: str, *, always: Q | None = None) -> Case:
    """Return `named_as` as a column, over the columns named; `always` tells what is counted under its name anyway."""
    since = EventName.objects.filter(site=OuterRef(site), name=OuterRef(name), since__lte=OuterRef(planned_at))
    branches = [When(always, then=F(name))] if always else []
    return Case(*branches, When(Exists(since), then=F(name)), default=Value(OTHER_NAMES), output_field=CharField())
