"""The roll-up of what arrived: `EventDay`, kept in the transaction that plans the events it counts.

Every planned event counts once, refunds too, under its name or as one of the other names (`own_names.py`). Tests do
not count. An event is one "with a click" when it brought a usable click id, or when planning found one for it; for a
refund nobody looks.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal

from django.db import transaction
from django.db.models import Count, Exists, OuterRef, Q, Sum, Value
from django.db.models.functions import Lower, Replace, TruncDate

from forwarding.models import Delivery, EventDay, Kind
from forwarding.rows.adding import add_sums, make_anew
from forwarding.rows.own_names import SiteName, named_as, named_in_sql
from ingest.click_ids import LOOK, TEST_PREFIX, is_click_id
from ingest.models import Event, Source

_KEYS = ("site_id", "day", "name", "currency")
_SUMS = ("count", "value", "with_click", "click_value")

_Key = tuple[int, str, str, str]
_Sums = tuple[int, Decimal, int, Decimal]
_NOTHING: _Sums = (0, Decimal(0), 0, Decimal(0))


def record_arrivals(
    events: Iterable[Event], clicked: Collection[int], own: Mapping[SiteName, datetime], now: datetime
) -> None:
    """Count events that are being planned at `now`, in one statement.

    `clicked` are the keys of those a click was found for, `own` since when their names have rows of their own.
    """
    sums: dict[_Key, _Sums] = {}
    for event in events:
        if event.source == Source.TEST:
            continue
        name = named_as(event.name, own.get(SiteName(event.site_id, event.name)), now)
        key = event.site_id, event.received_at.astimezone(UTC).date().isoformat(), name, event.currency
        count, value, with_click, click_value = sums.get(key, _NOTHING)
        worth = event.value or 0
        if event.pk in clicked or (event.msclkid and is_click_id(event.msclkid)):
            with_click, click_value = with_click + 1, click_value + worth
        sums[key] = count + 1, value + worth, with_click, click_value
    add_sums(EventDay, _KEYS, _SUMS, sums, now)


def rebuild_event_days(now: datetime) -> int:
    """Count every planned event anew; return how many rows the roll-up has now.

    Which click was found for an event is not kept with it: it has one where one of its deliveries has.
    """
    found = Delivery.objects.filter(event=OuterRef("pk"), kind=Kind.CONVERSION).exclude(msclkid="")
    clicked = Q(Exists(found)) | Q(msclkid__regex=LOOK) & ~Q(digits__startswith=TEST_PREFIX)
    with transaction.atomic():
        make_anew(EventDay)
        rows = (
            Event.objects.filter(planned_at__isnull=False)
            .exclude(source=Source.TEST)
            .annotate(
                day=TruncDate("received_at", tzinfo=UTC),
                digits=Lower(Replace("msclkid", Value("-"), Value(""))),
                named=named_in_sql("site", "name", "planned_at"),
            )
            .values_list("site_id", "day", "named", "currency")
            .annotate(
                count=Count("pk"),
                worth=Sum("value"),
                with_click=Count("pk", filter=clicked),
                click_worth=Sum("value", filter=clicked),
            )
            .order_by()
        )
        sums = {
            (site, day.isoformat(), name, currency): (count, value or Decimal(0), with_click, click_value or Decimal(0))
            for site, day, name, currency, count, value, with_click, click_value in rows.iterator()
        }
        add_sums(EventDay, _KEYS, _SUMS, sums, now)
    return len(sums)
