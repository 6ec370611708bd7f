"""How much a key, an address and a site's day may send, counted in the database so that all processes count together.

Each limit is a leaky bucket: what is granted fills it, time empties it at the limit's rate, and it holds BURST_SECONDS
of that rate. A site's day has a bucket for its pages and one for its backends, since everybody knows the pages' key;
each is of that day alone and never drains. Batches of many requests are counted in one UPDATE. What is refused fills no
bucket, so a flood takes nothing from those who share one with it, and what was stored before fills no day.
"""

import hashlib
import math
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from django.conf import settings
from django.db import connection

from ingest import answers
from ingest.door import Batch
from ingest.http import Answer
from ingest.keys import Caller
from ingest.models import Bucket

BURST_SECONDS = 10
# Of IPv6 a household or a server has at least a /64.
IPV6_PREFIX = 64
IDLE_AFTER = timedelta(hours=1)
DAYS_KEPT = timedelta(days=2)


class Charge(NamedTuple):
    """What one batch asks of one bucket; `rate` is what drains in a second, `refuse` the answer if there is no room."""

    bucket: str
    amount: float
    rate: float
    burst: float
    refuse: Callable[[], Answer]


def refuse(batches: Sequence[Batch], now: datetime) -> list[Answer | None]:
    """Count the batches, and return for each the answer that refuses it, or None."""
    return _count(
        [[*_rates(each.caller, each.address), _day(each.caller, len(each.rows), now)] for each in batches], now
    )


def give_back(unstored: Iterable[tuple[Batch, int]], now: datetime) -> None:
    """Take from the day what was let in and not stored: how many rows of each batch, repeats mostly."""
    _update(list(_total(_day(batch.caller, -rows, now) for batch, rows in unstored if rows).values()), now)


def refuse_read(caller: Caller, address: str, now: datetime) -> Answer | None:
    """Count a question, which is no event of the site's day; return the answer that refuses it, or None."""
    [answer] = _count([_rates(caller, address)], now)
    return answer


def sender(peer: str, forwarded_for: str) -> str:
    """Return the address that a request came from: what our own proxy says (BEHIND_PROXY), else the other end's."""
    if not settings.BEHIND_PROXY:
        return peer
    # Of several only the last is the proxy's word; those before it are the sender's.
    return forwarded_for.rpartition(",")[2].strip()


def forget_idle(now: datetime) -> int:
    """Delete buckets that have long been empty; return how many."""
    days = Bucket.objects.filter(name__startswith="day:")
    old_days, _ = days.filter(at__lt=(now - DAYS_KEPT).timestamp()).delete()
    others = Bucket.objects.exclude(name__startswith="day:")
    idle, _ = others.filter(at__lt=(now - IDLE_AFTER).timestamp()).delete()
    return old_days + idle


def _rates(caller: Caller, address: str) -> list[Charge]:
    charges = []
    if rate := settings.KEY_REQUESTS_PER_SECOND:
        charges.append(_rate(f"key:{caller.key}", rate, "key"))
    network = _network(address)
    if network and (rate := settings.ADDRESS_REQUESTS_PER_SECOND):
        charges.append(_rate(f"address:{network}", rate, "address"))
    return charges


def _rate(bucket: str, rate: float, whose: str) -> Charge:
    burst = max(rate * BURST_SECONDS, 1)
    return Charge(bucket, 1, rate, burst, lambda: answers.too_many_requests(whose, math.ceil(1 / rate)))


def _day(caller: Caller, events: int, now: datetime) -> Charge:
    today, rest_seconds = _today(caller.time_zone, now)
    bucket = f"day:{caller.site.site_id}:{'pages' if caller.is_page else 'backends'}:{today}"
    cap = caller.daily_event_cap
    # A batch that no day has room for takes a whole one, or it would come again every day.
    return Charge(bucket, min(events, cap), 0, cap, lambda: answers.daily_cap_reached(rest_seconds))


def day_began_at(time_zone: str, now: datetime) -> datetime:
    """Return when the day of a site in this time zone began: since then its daily cap counts."""
    zone = _zone(time_zone)
    return datetime.combine(now.astimezone(zone).date(), time(), zone)


def _zone(time_zone: str) -> ZoneInfo:
    """Return a zone; a name that is none's stands for UTC."""
    try:
        return ZoneInfo(time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return ZoneInfo("UTC")


@lru_cache(maxsize=256)  # the batches of one commit share a moment
def _today(time_zone: str, now: datetime) -> tuple[date, int]:
    """Return the date in a time zone, and the seconds that are left of it."""
    zone = _zone(time_zone)
    today = now.astimezone(zone).date()
    midnight = datetime.combine(today + timedelta(days=1), time(), zone)
    return today, math.ceil((midnight - now).total_seconds())


def _count(asked: Sequence[Sequence[Charge]], now: datetime) -> list[Answer | None]:
    """Fill buckets by what each batch asks of them, if all have room for it; return for each the answer if not."""
    total = _total(charge for charges in asked for charge in charges)
    room = _take(total, now)
    refused = [_share(charges, room) for charges in asked]
    # What was taken for those who are refused is given back.
    _update([total[name]._replace(amount=-left) for name, left in room.items() if left], now)
    return refused


def _share(charges: Sequence[Charge], room: dict[str, float]) -> Answer | None:
    """Take from each bucket's room what a batch asks for; its refusal, and nothing taken, when one has not enough."""
    for charge in charges:
        if room[charge.bucket] < charge.amount:
            return charge.refuse()
    for charge in charges:
        room[charge.bucket] -= charge.amount
    return None


def _total(charges: Iterable[Charge]) -> dict[str, Charge]:
    """Add up what is asked of each bucket, in the order of their names."""
    total: dict[str, Charge] = {}
    for charge in charges:
        before = total.get(charge.bucket)
        total[charge.bucket] = charge._replace(amount=charge.amount + (before.amount if before else 0))
    return {name: total[name] for name in sorted(total)}


@lru_cache(maxsize=4096)
def _network(address: str) -> str:
    """Return a keyed hash of the sender's network: nobody's address is stored. Empty when it is not to be limited.

    Visitors come from public addresses. A private one, or this machine's, is a proxy's that was not announced
    (BEHIND_PROXY) or a backend's next door: to limit it would be to limit everybody.
    """
    try:
        ip = ip_address(address)
    except ValueError:
        return ""
    if isinstance(ip, IPv6Address):
        ip = ip.ipv4_mapped or ip_network((ip, IPV6_PREFIX), strict=False).network_address
    if not ip.is_global:
        return ""
    return hashlib.blake2b(ip.packed, digest_size=16, key=settings.SECRET_KEY.encode()[:64]).hexdigest()


def _take(asked: dict[str, Charge], now: datetime) -> dict[str, float]:
    """Fill the buckets by as much of what is asked as they have room for; return how much that is for each."""
    granted = _update(list(asked.values()), now)
    if new := [charge for name, charge in asked.items() if name not in granted]:
        empty = [Bucket(name=charge.bucket, used=0, granted=0, at=now.timestamp()) for charge in new]
        Bucket.objects.bulk_create(empty, ignore_conflicts=True)
        granted |= _update(new, now)
    return granted


# Rows are written and locked in the order of their names, so that two processes never wait for each other in a circle.
# They are named twice: of an array PostgreSQL sees how few it holds, and takes the index instead of the table. A
# negative amount is given back.
_POSTGRESQL = """
    WITH asked AS (
        SELECT * FROM jsonb_to_recordset(%(asked)s::jsonb) AS a(name text, amount float8, rate float8, burst float8)
    ), held AS (
        SELECT b.name, a.amount, a.burst, greatest(b.used - greatest(%(now)s - b.at, 0) * a.rate, 0) AS used
        FROM ingest_bucket b JOIN asked a ON a.name = b.name
        WHERE b.name = ANY(%(names)s) ORDER BY b.name FOR UPDATE OF b
    ), granting AS (
        SELECT name, used, least(amount, greatest(floor(burst - used), 0)) AS granted FROM held
    )
    UPDATE ingest_bucket b SET used = g.used + g.granted, granted = g.granted, at = greatest(b.at, %(now)s)
    FROM granting g WHERE b.name = g.name AND b.name = ANY(%(names)s) RETURNING b.name, b.granted"""
_SQLITE = """
    WITH asked AS (
        SELECT json_extract(value, '$.name') AS name, json_extract(value, '$.amount') AS amount,
            json_extract(value, '$.rate') AS rate, json_extract(value, '$.burst') AS burst
        FROM json_each(%(asked)s)
    ), held AS (
        SELECT b.name, a.amount, a.burst, max(b.used - max(%(now)s - b.at, 0) * a.rate, 0) AS used
        FROM ingest_bucket b JOIN asked a ON a.name = b.name
    ), granting AS (
        SELECT name, used, min(amount, max(CAST(burst - used AS INTEGER), 0)) AS granted FROM held
    )
    UPDATE ingest_bucket SET used = g.used + g.granted, granted = g.granted, at = max(at, %(now)s)
    FROM granting g WHERE ingest_bucket.name = g.name RETURNING name, granted"""


def _update(asked: Sequence[Charge], now: datetime) -> dict[str, float]:
    if not asked:
        return {}
    said = [{"name": each.bucket, "amount": each.amount, "rate": each.rate, "burst": each.burst} for each in asked]
    given: dict[str, Any] = {"asked": msgspec.json.encode(said).decode(), "now": now.timestamp()}
    if connection.vendor == "postgresql":
        given["names"] = [each.bucket for each in asked]
    with connection.cursor() as cursor:
        cursor.execute(_POSTGRESQL if connection.vendor == "postgresql" else _SQLITE, given)
        return dict(cursor.fetchall())
