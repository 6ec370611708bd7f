"""Millions of events and deliveries, made by PostgreSQL itself: what a big customer's pages stand on.

    DATABASE_URL=postgres://…/shop_bench python -m tests.bench.millions --rows 5000000

fills a migrated database whose name ends in `_bench`. One site, one account, 90 days, the newest row a minute old; of a
hundred deliveries 95 are delivered, 2 skipped, 2 failed and one waits.
"""

import argparse
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

import django

if __name__ == "__main__":
    django.setup()

from django.contrib.auth.models import User
from django.db import connection, models
from django.utils import timezone

from forwarding.models import Attempt, Attribution, Delivery, EventName, Kind, Status, Upload
from forwarding.rows.counts import rebuild
from forwarding.rows.event_days import rebuild_event_days
from forwarding.rows.own_names import ALWAYS
from ingest.models import Event, Membership, Organisation, Role, Site
from integrations.models import AdAccount, Connection, ConversionGoal, GoalMapping
from tests.bench.databases import refuse_foreign

AT_ONCE = 500_000
DAYS = 90
GOALS = {"purchase": "Purchase", "qualified_lead": "Qualified Lead", "signup": "Account Registration"}
OWNER = "owner@example.com"

# SQL over `n`, the row's number from 1 to the last, and `:rows`, how many there are. The newest is a minute old.
_MOMENT = f"now() - interval '1 minute' - ((:rows - n) * interval '{DAYS - 1} days' / :rows)"
_NAME = "(ARRAY['purchase','purchase','purchase','qualified_lead','signup'])[1 + n % 5]"
_GOAL = "(ARRAY['Purchase','Purchase','Purchase','Qualified Lead','Account Registration'])[1 + n % 5]"
_STATUS = (
    "CASE WHEN n % 100 < 95 THEN 'delivered' WHEN n % 100 < 97 THEN 'skipped' WHEN n % 100 < 99 THEN 'failed'"
    " WHEN n > :rows - 20000 THEN 'pending' ELSE 'delivered' END"
)
_VALUE = "(20 + n % 500)::numeric(15, 3)"
_DELIVERIES_A_CALL = 1000


class Shop(NamedTuple):
    """Whose rows they are."""

    site: Site
    account: AdAccount


def fill(rows: int) -> Shop:
    """Make the shop and so many events with a delivery each. Takes about a minute a million on two processors.

    Raises ValueError on a database that is not the bench's.
    """
    refuse_foreign(str(connection.settings_dict["NAME"]))
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
    shop = _shop()
    with _without_indexes():
        for first in range(1, rows + 1, AT_ONCE):
            last = min(first + AT_ONCE - 1, rows)
            _insert(Event, _events(shop), first, last, rows)
            _insert(Delivery, _deliveries(shop), first, last, rows)
        calls = rows // _DELIVERIES_A_CALL
        _insert(Upload, _uploads(shop), 1, calls, calls)
        _insert(Attempt, _attempts(), 1, rows // 100, rows // 100)
        for number in range(len(GOALS)):
            _insert(Attribution, _attributions(shop, number), 1, DAYS, DAYS)
    with connection.cursor() as cursor:
        for model in (Event, Delivery, Upload, Attempt):
            table = model._meta.db_table
            cursor.execute(f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), (SELECT max(id) FROM {table}))")  # noqa: S608
    rebuild(timezone.now())
    rebuild_event_days(timezone.now())
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
    return shop


def _shop() -> Shop:
    now = timezone.now()
    owner = User.objects.create_user(OWNER, OWNER)
    organisation = Organisation.objects.create(name="Bench")
    Membership.objects.create(user=owner, organisation=organisation, role=Role.OWNER)
    site = Site.objects.create(organisation=organisation, name="Shop")
    sign_in = Connection.objects.create(site=site, microsoft_user_id="5001", access_token="t", connected_at=now)
    account = AdAccount.objects.create(
        site=site,
        connection=sign_in,
        account_id="180000001",
        customer_id="251093876",
        name="Search – US",
        currency="USD",
        goals_synced_at=now,
        report_read_at=now,
    )
    for number, (event_name, goal_name) in enumerate(GOALS.items()):
        goal = ConversionGoal.objects.create(account=account, goal_id=str(9000 + number), name=goal_name, synced_at=now)
        GoalMapping.objects.create(account=account, event_name=event_name, goal=goal)
        EventName.objects.create(site=site, name=event_name, since=ALWAYS)
    return Shop(site, account)


def _events(shop: Shop) -> dict[str, str]:
    return {
        "id": "n",
        "site": str(shop.site.pk),
        "event_id": "'e-' || n",
        "name": _NAME,
        **dict.fromkeys(("occurred_at", "received_at", "created_at", "planned_at"), _MOMENT),
        "source": "(ARRAY['browser','server'])[1 + n % 2]",
        "value": _VALUE,
        "currency": "'USD'",
        "transaction_id": "'HP-' || n",
        "visitor_id": "md5('v' || n / 2)",
        "msclkid": "CASE WHEN n % 3 = 0 THEN md5(n::text) ELSE '' END",
        "fingerprint": "md5(n::text) || md5(n::text)",
        "properties": "'{}'",
    }


def _deliveries(shop: Shop) -> dict[str, str]:
    is_failed, waits = f"({_STATUS}) = 'failed'", f"({_STATUS}) = 'pending'"
    return {
        "id": "n",
        "account": str(shop.account.pk),
        "event": "n",
        "kind": f"'{Kind.CONVERSION}'",
        "dedupe_key": "'9000:t:HP-' || n",
        "goal_name": f"CASE WHEN ({_STATUS}) = 'skipped' THEN '' ELSE {_GOAL} END",
        "conversion_time": f'to_char({_MOMENT}, \'YYYY-MM-DD"T"HH24:MI:SS"Z"\')',
        "msclkid": f"CASE WHEN ({_STATUS}) = 'skipped' THEN '' ELSE md5(n::text) END",
        "click_source": f"CASE WHEN ({_STATUS}) = 'skipped' THEN '' ELSE 'event' END",
        "value": _VALUE,
        "currency": "'USD'",
        "order_value": _VALUE,
        "order_currency": "'USD'",
        "order_source": "'server'",
        "value_rule": "'event'",
        "transaction_id": "'HP-' || n",
        "status": _STATUS,
        "skip_reason": f"CASE WHEN ({_STATUS}) = 'skipped' THEN 'no_identifier' ELSE '' END",
        "attempts": f"CASE WHEN ({_STATUS}) IN ('delivered', 'failed') THEN 1 ELSE 0 END",
        "next_attempt_at": f"CASE WHEN {waits} THEN now() + interval '1 hour' END",
        "expires_at": f"{_MOMENT} + interval '90 days'",
        "delivered_at": f"CASE WHEN ({_STATUS}) = 'delivered' THEN {_MOMENT} END",
        "error_code": f"CASE WHEN {is_failed} THEN (ARRAY[5606, 5604, 5609])[1 + n % 3] END",
        "last_upload": f"CASE WHEN ({_STATUS}) IN ('delivered', 'failed') THEN 1 + (n - 1) / {_DELIVERIES_A_CALL} END",
        **dict.fromkeys(("created_at", "changed_at"), _MOMENT),
    }


def _uploads(shop: Shop) -> dict[str, str]:
    first = f"((n - 1) * {_DELIVERIES_A_CALL} + 1)::int"
    return {
        "id": "n",
        "account": str(shop.account.pk),
        "operation": "'conversions'",
        "delivery_ids": f"(SELECT jsonb_agg(d) FROM generate_series({first}, {first} + {_DELIVERIES_A_CALL - 1}) AS d)",  # noqa: S608
        **dict.fromkeys(("leased_until", "started_at", "finished_at", "created_at"), _MOMENT),
        "seconds": "0.4",
        "http_status": "200",
        "tracking_id": "gen_random_uuid()::text",
        "accepted": "980",
        "refused": "20",
    }


def _attempts() -> dict[str, str]:
    delivery = "(n - 1) * 100 + 98"  # one that failed, in its hundred
    return {
        "id": "n",
        "delivery": delivery,
        "upload": f"1 + ({delivery} - 1) / {_DELIVERIES_A_CALL}",
        "outcome": "'refused'",
        "error_code": "5606",
        "created_at": _MOMENT,
    }


def _attributions(shop: Shop, number: int) -> dict[str, str]:
    return {
        "account": str(shop.account.pk),
        "goal_id": f"'{9000 + number}'",
        "goal_name": f"'{list(GOALS.values())[number]}'",
        "day": f"(now() AT TIME ZONE 'UTC')::date - ({DAYS} - n)::int",
        "success": "9000",
        "unattributed": "500",
        "reasons": """'{"NoMatchingClickFound": 400, "OutsideGoalLookbackWindow": 100}'""",
        **dict.fromkeys(("read_at", "created_at"), "now()"),
    }


def _insert(model: type[models.Model], given: Mapping[str, str], first: int, last: int, rows: int) -> None:
    """Insert rows number `first` to `last`; columns that are not given hold what says nothing."""
    columns = {str(field.column): given.get(field.name, _nothing(field)) for field in model._meta.concrete_fields}
    if "id" not in given:
        del columns["id"]
    statement = f"INSERT INTO {model._meta.db_table} ({', '.join(columns)}) SELECT {', '.join(columns.values())}"
    source = f" FROM generate_series({first}, {last}) AS n"
    with connection.cursor() as cursor:
        cursor.execute(statement.replace(":rows", f"{rows}::bigint") + source)


def _nothing(field: "models.Field[object, object]") -> str:
    if field.null:
        return "NULL"
    match field:
        case models.BooleanField():
            return "true" if field.get_default() else "false"
        case models.IntegerField():
            return "0"
        case models.UUIDField():
            return "gen_random_uuid()"
        case _:
            return "''"


@contextmanager
def _without_indexes() -> Iterator[None]:
    """Drop the indexes of the big tables that no constraint needs, and make them again; check no reference between."""
    tables = [model._meta.db_table for model in (Event, Delivery)]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = ANY(%s) AND indexname NOT IN"
            " (SELECT conname FROM pg_constraint)",
            [tables],
        )
        indexes = cursor.fetchall()
        cursor.execute("SET session_replication_role = replica")
        for name, _ in indexes:
            cursor.execute(f'DROP INDEX "{name}"')
        yield
        cursor.execute("SET session_replication_role = DEFAULT")
        for _, definition in indexes:
            cursor.execute(definition)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.bench.millions", description=__doc__)
    parser.add_argument("--rows", type=int, default=5_000_000, help="events, and deliveries (default: %(default)s)")
    made = fill(parser.parse_args().rows)
    print(f"Made {made.account.deliveries.filter(status=Status.FAILED).count()} failed deliveries among the rest.")
    print(f"/s/{made.site.public_id}/accounts/{made.account.account_id}/logs/")
