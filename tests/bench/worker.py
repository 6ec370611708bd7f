"""The inside of a bench worker: `python -m tests.bench.worker` reads orders as JSON lines and answers each with one.

What it measures is the product's own code: `plan_all` and `tasks.deliver`, timed from outside. The ceiling is the same
client and the same bytes without a database.
"""

import json
import resource
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from unittest import mock

import django

django.setup()

from django.conf import settings  # noqa: E402
from django.contrib.auth.models import User  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.core.management.color import no_style  # noqa: E402
from django.db import connection  # noqa: E402
from django.db.models import Count, Sum  # noqa: E402
from django.utils import timezone  # noqa: E402

from dashboard.demo.seeding import connect  # noqa: E402
from forwarding import tasks  # noqa: E402
from forwarding.models import DailyCount, Delivery, Status, Upload  # noqa: E402
from forwarding.planning.planner import plan_all  # noqa: E402
from ingest.models import Event, Membership, Organisation, Role, ServerKey, Site, Source  # noqa: E402
from ingest.parsing import EventRow  # noqa: E402
from ingest.storing import store_events  # noqa: E402
from integrations.connecting import add_accounts  # noqa: E402
from integrations.mapping import Rule, set_mapping  # noqa: E402
from integrations.microsoft import endpoints  # noqa: E402
from integrations.microsoft_ads import wire  # noqa: E402
from integrations.microsoft_ads.auth import BearerAuth  # noqa: E402
from integrations.microsoft_ads.client import MicrosoftAdsClient  # noqa: E402
from integrations.microsoft_ads.emulator.world import SEARCH_US  # noqa: E402
from integrations.microsoft_ads.shapes import OfflineConversion  # noqa: E402
from integrations.models import AdAccount, Connection, ConversionGoal, GoalMapping  # noqa: E402
from tests.bench.databases import refuse_foreign  # noqa: E402
from tests.bench.opening import fill_millions, open_pages  # noqa: E402

CUSTOMER = "251093876"
GOAL = "Purchase"
CALL_ROWS = 1000
STORED_AT_ONCE = 5000
UNREACHED_CAP = 2_000_000_000
STATM = Path("/proc/self/statm")  # man 5 proc: size and resident pages


@dataclass
class Stopwatch:
    """Seconds by phase."""

    seconds: dict[str, float] = field(default_factory=dict)

    def timed(self, phase: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function, its time added to the phase."""

        def wrapper(*given: Any, **named: Any) -> Any:
            started = time.perf_counter()
            try:
                return function(*given, **named)
            finally:
                self.seconds[phase] = self.seconds.get(phase, 0.0) + time.perf_counter() - started

        return wrapper


class _AnyToken:
    """A token for a Microsoft that asks for none."""

    def access_token(self) -> str:
        return "a-token-that-nobody-checks"

    def renew(self, stale: str) -> str:
        return stale


# What a worker can be told to do


def migrate() -> dict[str, Any]:
    """Make the tables."""
    call_command("migrate", verbosity=0)
    return {}


def open_shop() -> dict[str, Any]:
    """Make a site that is signed in to the emulator, with an account that maps purchases; return a backend's key."""
    now = timezone.now()
    owner = User.objects.create_user("owner@example.com")
    organisation = Organisation.objects.create(name="Bench")
    Membership.objects.create(user=owner, organisation=organisation, role=Role.OWNER)
    site = Site.objects.create(organisation=organisation, name="Shop")
    [account] = add_accounts(connect(site, owner, now), [SEARCH_US], owner, now)
    set_mapping(account, "purchase", Rule(account.goals.get(name=GOAL).goal_id), owner, now)
    _, server_key = ServerKey.objects.mint(site)
    return {"server_key": server_key}


def open_door(origin: str) -> dict[str, Any]:
    """Make a site that takes events from the pages of an origin, more than come in a day; return its id and key."""
    organisation = Organisation.objects.create(name="Bench")
    site = Site.objects.create(
        organisation=organisation, name="Shop", allowed_origins=[origin], daily_event_cap=UNREACHED_CAP
    )
    return {"site_id": site.pk, "write_key": site.write_key}


def forget_events() -> dict[str, Any]:
    """Empty the table of events and what hangs on it."""
    refuse_foreign(str(connection.settings_dict["NAME"]))
    with connection.cursor() as cursor:
        if connection.vendor == "postgresql":
            cursor.execute("TRUNCATE ingest_event CASCADE")
        else:
            cursor.execute("DELETE FROM ingest_event")
    return {}


def count_events(prefix: str) -> dict[str, Any]:
    """Count the events whose id begins so."""
    return {"rows": Event.objects.filter(event_id__startswith=prefix).count()}


def durability() -> dict[str, Any]:
    """Say whether a commit waits until it is on disk."""
    if connection.vendor == "sqlite":
        return {"is_durable": True}  # synchronous=FULL, by the settings
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('fsync') = 'on' AND current_setting('synchronous_commit') = 'on'")
        return {"is_durable": cursor.fetchone()[0]}


def seed(shares: list[int]) -> dict[str, Any]:
    """Empty the database, then store as many purchases as each share says, for a site with one account each."""
    refuse_foreign(str(connection.settings_dict["NAME"]))
    tables = connection.introspection.django_table_names(only_existing=True, include_views=False)
    wanted = [table for table in tables if table != "django_migrations"]
    connection.ops.execute_sql_flush(connection.ops.sql_flush(no_style(), wanted, allow_cascade=True))
    organisation = Organisation.objects.create(name="Bench")
    now = timezone.now()
    accounts = [_account(organisation, number, now) for number in range(len(shares))]
    for account, rows in zip(accounts, shares, strict=True):
        for start in range(0, rows, STORED_AT_ONCE):
            store_events([_purchase(account.site_id, now) for _ in range(min(STORED_AT_ONCE, rows - start))])
    return {"accounts": [account.pk for account in accounts]}


def analyze() -> dict[str, Any]:
    """Let the database look at its rows, as it would have by itself in a day of work."""
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    return {}


def plan() -> dict[str, Any]:
    """Plan every event."""
    now = timezone.now()
    with _measured() as measured:
        rows = plan_all(now)
    return measured | {"rows": rows, "phases": {}}


def drain(accounts: list[int]) -> dict[str, Any]:
    """Deliver everything that the accounts have due."""
    watch = Stopwatch()
    resident: list[float] = []
    with _phases(watch, resident), _measured() as measured:
        calls = sum(tasks.deliver(account) for account in accounts)
    rows = Delivery.objects.filter(account__in=accounts, status=Status.DELIVERED).count()
    spent = watch.seconds
    build, apply = spent["build"], spent["apply"]
    others = spent["claim"] + apply + spent["mark"]
    phases = {
        "claim": spent["claim"],
        "load": measured["ended_at"] - measured["began_at"] - others,
        "build": build,
        "post": apply - build,
        "mark": spent["mark"],
    }
    growth = resident[-1] - resident[len(resident) // 10]
    return measured | {"rows": rows, "calls": calls, "phases": phases, "growth_mib": growth}


def ceiling(shares: list[int]) -> dict[str, Any]:
    """Send as many conversions in calls of the same sizes, from memory: what no database could outrun."""
    client = MicrosoftAdsClient(
        endpoints(),
        settings.MICROSOFT_DEVELOPER_TOKEN,
        BearerAuth(_AnyToken()),
        customer_id=CUSTOMER,
        account_id="1",
        timeout_seconds=settings.UPLOAD_TIMEOUT_SECONDS,
    )
    conversions = [_conversion() for _ in range(CALL_ROWS)]
    sizes = [min(CALL_ROWS, rows - start) for rows in shares for start in range(0, rows, CALL_ROWS)]
    watch = Stopwatch()
    timed_build = mock.patch.object(wire, "conversions_body", watch.timed("build", wire.conversions_body))
    with timed_build, _measured() as measured:
        for size in sizes:
            client.apply_offline_conversions(conversions[:size])
    build = watch.seconds["build"]
    phases = {"build": build, "post": measured["ended_at"] - measured["began_at"] - build}
    return measured | {"rows": sum(sizes), "calls": len(sizes), "phases": phases}


def count() -> dict[str, Any]:
    """Count what the database holds now: rows by status, calls by account, and the roll-up's view of it."""
    statuses = Delivery.objects.order_by().values_list("status").annotate(rows=Count("pk"))
    uploads = Upload.objects.order_by("account").values_list("account").annotate(calls=Count("pk"))
    rolled_up = DailyCount.objects.filter(status=Status.DELIVERED).aggregate(rows=Sum("count"))["rows"]
    return {
        "statuses": dict(statuses),
        "calls": [calls for _, calls in uploads],
        "accepted": Upload.objects.aggregate(rows=Sum("accepted"))["rows"] or 0,
        "rolled_up": rolled_up or 0,
    }


ORDERS: dict[str, Callable[..., dict[str, Any]]] = {
    order.__name__: order
    for order in (
        *(migrate, open_shop, open_door, forget_events, count_events, durability),
        *(seed, analyze, plan, drain, ceiling, count),
        *(fill_millions, open_pages),
    )
}


# How it does it


@contextmanager
def _measured() -> Iterator[dict[str, Any]]:
    """Fill in when the work began and ended, on the clock that all processes share, and what it cost."""
    measured: dict[str, Any] = {}
    cpu = time.process_time()
    measured["began_at"] = time.monotonic()
    yield measured
    measured["ended_at"] = time.monotonic()
    measured["cpu_seconds"] = time.process_time() - cpu
    measured["resident_mib"] = _resident_mib()


def _resident_mib() -> float:
    """Return what this process holds of the machine's memory now, or at most so far where /proc does not tell."""
    if STATM.exists():
        return int(STATM.read_text().split()[1]) * resource.getpagesize() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@contextmanager
def _phases(watch: Stopwatch, resident: list[float]) -> Iterator[None]:
    """Time what `deliver` calls, by the names under which it calls it; note the memory after each call."""

    def send(upload: Upload) -> None:
        sent(upload)
        resident.append(_resident_mib())

    sent = tasks.send
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(tasks, "send", send))
        for owner, name, phase in (
            (tasks, "claim", "claim"),
            (tasks, "record_answer", "mark"),
            (wire, "conversions_body", "build"),
            (MicrosoftAdsClient, "apply_offline_conversions", "apply"),
        ):
            stack.enter_context(mock.patch.object(owner, name, watch.timed(phase, getattr(owner, name))))
        yield


def _account(organisation: Organisation, number: int, now: datetime) -> AdAccount:
    """Make a connected site with one account that maps purchases."""
    site = Site.objects.create(organisation=organisation, name=f"Shop {number}")
    sign_in = Connection.objects.create(
        site=site,
        microsoft_user_id=str(number),
        access_token=_AnyToken().access_token(),
        expires_at=now + timedelta(days=1),
        connected_at=now,
    )
    account = AdAccount.objects.create(
        site=site,
        connection=sign_in,
        account_id=str(180_000_000 + number),
        customer_id=CUSTOMER,
        name=site.name,
        currency="USD",
    )
    goal = ConversionGoal.objects.create(account=account, goal_id=str(9000 + number), name=GOAL, synced_at=now)
    GoalMapping.objects.create(account=account, event_name="purchase", goal=goal)
    return account


def _purchase(site_id: int, now: datetime) -> EventRow:
    order = uuid.uuid4().hex
    occurred_at = now - timedelta(hours=2)
    return EventRow(
        site_id=site_id,
        event_id=order,
        name="purchase",
        occurred_at=occurred_at,
        received_at=occurred_at,
        created_at=now,
        source=Source.SERVER,
        value=Decimal("49.90"),
        currency="USD",
        transaction_id=f"HP-{order[:12]}",
        external_id="",
        visitor_id=order[:22],
        session_id="",
        msclkid=uuid.uuid4().hex,
        email_sha256="",
        phone_sha256="",
        consent="",
        properties={},
        fingerprint=order * 2,
    )


def _conversion() -> OfflineConversion:
    return OfflineConversion(
        goal_name=GOAL,
        conversion_time="2026-11-21T09:30:00Z",
        click_id=uuid.uuid4().hex,
        value=Decimal("49.900"),
        currency="USD",
    )


if __name__ == "__main__":
    for line in sys.stdin:
        told = json.loads(line)
        print(json.dumps(ORDERS[told["order"]](**told["arguments"])), flush=True)
