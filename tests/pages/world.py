"""One believable world for everything that looks at every page: a busy site, an empty one, and another customer.

Brightpath Media runs Harbor & Pine, whose conversions are in every state there is, and an outlet on which nothing has
happened yet. Tallis Vinyl is somebody else's. Some of what arrived is hostile: markup, a formula, text from right to
left, strings of 10,000 characters. The same seed and clock make the same rows, public ids included.
"""

import io
import json
import random
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection as database
from django.db import transaction
from django.db.models import Model

from dashboard.wording import short_click_id
from forwarding.corrections.taking_back import take_back
from forwarding.importing import check, store
from forwarding.models import (
    WAITING,
    Attempt,
    Attribution,
    BulkJob,
    ClickSource,
    Correction,
    Delivery,
    Heartbeat,
    Hold,
    Kind,
    Operation,
    Said,
    Skip,
    Status,
    TestConversion,
    Upload,
)
from forwarding.rows.own_names import SiteName, admit
from forwarding.test_center import doctor
from forwarding.test_center.sending import GOAL_NAME_PROPERTY, GOAL_PROPERTY
from ingest import audit
from ingest.imports import working
from ingest.imports.uploading import FileOptions, take_file
from ingest.models import (
    AuditEntry,
    BlockedOrigin,
    Click,
    Consent,
    Event,
    Import,
    Invitation,
    Membership,
    Organisation,
    RefusedItem,
    Role,
    ServerKey,
    Site,
    Source,
)
from integrations.microsoft_ads.shapes import UetTag
from integrations.models import AdAccount, Connection, ConversionGoal, GoalMapping, MappingChange
from tests.cast import PASSWORD, make_account, make_connection
from tests.support.microsoft import EmulatedMicrosoft

SCRIPT = "<script>alert(1)</script>"
HANDLER = '"><img src=x onerror=alert(2)>'
FORMULA = "=cmd|' /C calc'!A0"
BACKWARDS = "\u202eevisrever\u2066 txet"
LONG = "long" * 2_500
LONG_WORD = "W" * 64
# Longer than a period and the one before it, so that each figure has something to be held against.
DAYS = 60
CUSTOMER = "251093876"
NAMES = {
    "maya": ("Maya", "Okafor"),
    "jonas": ("Jonas", "Weber"),
    "sofia": ("Sofia", "Petrov"),
    "daniel": ("Daniel", "Amsel"),
    "lin": ("Lin", "Kwan"),
    "amelie": ("Amélie", "Roy"),
    "sam": ("Sam", "Staff"),
    "theo": ("Theo", "Tallis"),
}
# Who is what at Brightpath Media. Amélie sees the outlet only, Sam is staff and Theo owns Tallis Vinyl.
ROLES = {
    "maya": Role.OWNER,
    "jonas": Role.ADMIN,
    "sofia": Role.MARKETER,
    "daniel": Role.DEVELOPER,
    "lin": Role.VIEWER,
    "amelie": Role.MARKETER,
}
Values = dict[str, object]
# The parameters of addresses that `_values` has a row for.
PARAMETERS = {
    *("site_id", "account_id", "connection_id", "delivery_id", "event_id", "adjustment_id", "import_id", "format_"),
    *("name", "uidb36", "key", "write_key", "key_id", "test_id", "job_id", "invitation_id", "organisation_id"),
    *("token", "member_id", "device_id"),
}


@dataclass
class World:
    """What the pages are about. `own` and `foreign` give each parameter of an address its value, by its name."""

    now: datetime
    people: dict[str, User]
    site: Site
    outlet: Site
    stranger: Site
    account: AdAccount
    deliveries: dict[str, Delivery]
    imports: dict[str, Import]
    tests: dict[str, TestConversion] = field(default_factory=dict)
    own: Values = field(default_factory=dict)
    foreign: Values = field(default_factory=dict)


def build(microsoft: EmulatedMicrosoft, now: datetime, *, is_hostile: bool = True) -> World:
    """Fill an empty database; everything has happened before `now`, the last of it a minute ago."""
    chance = random.Random(20261121)
    people = {name: _person(name) for name in NAMES}
    people["sam"].is_staff = people["sam"].is_superuser = True
    people["sam"].save()
    organisation = _organisation("Brightpath Media", chance)
    site = _site(organisation, "Harbor & Pine", "https://shop.harborpine.example", chance)
    outlet = _site(organisation, "Harbor & Pine Outlet", "https://outlet.harborpine.example", chance)
    for name, role in ROLES.items():
        member = Membership.objects.create(
            user=people[name], organisation=organisation, role=role, all_sites=name != "amelie"
        )
        if name == "amelie":
            member.sites.add(outlet)
    connection = microsoft.connect(site, people["maya"])
    account, shopping, _canada = _accounts(site, connection, now)
    goals = _goals(account, people["sofia"], now, is_hostile=is_hostile)
    _map(shopping, ConversionGoal.objects.create(account=shopping, goal_id="71002", name="Purchase", synced_at=now))
    _traffic(account, goals, chance, now)
    _traffic(shopping, {"purchase": shopping.goals.get()}, chance, now, share=3)
    _sent(shopping.deliveries.filter(status=Status.DELIVERED).latest("delivered_at"), chance)
    began = now - timedelta(days=DAYS + 5)
    AuditEntry.objects.filter(action="sign_in.connect").update(created_at=began)
    Site.objects.filter(pk=site.pk).update(created_at=began)
    site.refresh_from_db()
    deliveries = _deliveries(account, goals, people["sofia"], chance, now)
    if is_hostile:
        _hostile(account, goals["purchase"], chance, now)
    imports = _imports(site, people["sofia"], chance, now)
    world = World(now, people, site, outlet, _stranger(people["theo"], chance, now), account, deliveries, imports)
    _around(world, chance, is_hostile=is_hostile)
    # Rows that nobody planned have names of their own in the counts like those that were.
    admit((SiteName(*one) for one in Event.objects.values_list("site_id", "name").distinct()), (), now)
    _put_in_order()
    call_command("rebuild_counts", stdout=io.StringIO())
    world.own = _values(site, account, deliveries["delivered"], imports["checked"])
    foreign_account = world.stranger.ad_accounts.get()
    theirs = world.stranger.imports.get()
    world.foreign = _values(world.stranger, foreign_account, foreign_account.deliveries.get(), theirs)
    _count_rows()
    return world


def _count_rows() -> None:
    """Tell PostgreSQL how many rows its tables have: it finds out by itself, but not in the middle of a test."""
    if database.vendor == "postgresql":
        with database.cursor() as cursor:
            cursor.execute("ANALYZE")


def _put_in_order() -> None:
    """Give the log's entries their ids in the order in which they happened, as they have outside a test."""
    entries = sorted(AuditEntry.objects.all(), key=lambda entry: entry.created_at)
    AuditEntry.objects.all().delete()
    for entry in entries:
        entry.pk = None
    AuditEntry.objects.bulk_create(entries)


# People and places


def _person(name: str) -> User:
    first, last = NAMES[name]
    address = f"{name}@brightpath.example"
    user = User(username=address, email=address, first_name=first, last_name=last)
    user.set_password(PASSWORD)
    user.save()
    return user


def _organisation(name: str, chance: random.Random) -> Organisation:
    return Organisation.objects.create(name=name, public_id=_uuid(chance))


def _site(organisation: Organisation, name: str, origin: str, chance: random.Random) -> Site:
    return Site.objects.create(
        organisation=organisation,
        name=name,
        public_id=_uuid(chance),
        allowed_origins=[origin],
        time_zone="America/Chicago",
        write_key=f"wk_{_uuid(chance).hex}",
    )


def _accounts(site: Site, connection: Connection, now: datetime) -> tuple[AdAccount, AdAccount, AdAccount]:
    """Return a healthy account, a paused one and one that waits for its sign-in."""
    account = make_account(
        site,
        connection=connection,
        uet_tag_id="343118260",
        enhanced_conversions=True,
        auto_tagging=True,
        goals_synced_at=now - timedelta(minutes=6),
        report_read_at=now - timedelta(hours=5),
    )
    # Connected before the first conversion; the columns write themselves.
    Connection.objects.filter(pk=connection.pk).update(connected_at=now - timedelta(days=DAYS + 5))
    shopping = make_account(
        site,
        "138204422",
        connection=connection,
        name="Shopping – US",
        number="F118Q2UA",
        paused_at=now - timedelta(hours=3),
        goals_synced_at=now - timedelta(minutes=6),
    )
    lost = make_connection(
        site,
        microsoft_user_id="50017005",
        microsoft_user_name="ca-ads@harborpine.example",
        status=Connection.Status.NEEDS_RECONNECT,
        last_error="Microsoft no longer gives access to this sign-in because its password was changed or its sessions "
        "were ended (AADSTS50173).",
        failed_at=now - timedelta(hours=22),
        connected_at=now - timedelta(days=80),
    )
    canada = make_account(
        site,
        "138204460",
        connection=lost,
        name="Canada",
        number="F119M7KC",
        currency="CAD",
        hold_reason=Hold.RECONNECT,
        goals_synced_at=now - timedelta(hours=23),
    )
    for one in (account, shopping, canada):
        AdAccount.objects.filter(pk=one.pk).update(created_at=now - timedelta(days=DAYS + 5))
        one.refresh_from_db()
    connection.refresh_from_db()
    return account, shopping, canada


def _goals(account: AdAccount, actor: User, now: datetime, *, is_hostile: bool) -> dict[str, ConversionGoal]:
    """Make the goals, map the events and note the changes; the goal of `lead` is gone at Microsoft."""
    goals = {
        event_name: ConversionGoal.objects.create(
            account=account,
            goal_id=str(71100 + number),
            name=name,
            category=category,
            count_type="All",
            window_minutes=90 * 24 * 60,
            revenue_type="VariableValue",
            is_enhanced=True,
            synced_at=now - timedelta(minutes=6),
        )
        for number, (event_name, name, category) in enumerate(
            [
                ("purchase", "Purchase", "Purchase"),
                ("signup", "Account Registration", "SignUp"),
                ("lead", "Trade enquiry", "SubmitLeadForm"),
                ("unused", "Newsletter – " + LONG_WORD if is_hostile else "Newsletter", "Subscribe"),
            ]
        )
    }
    ConversionGoal.objects.filter(pk=goals["lead"].pk).update(gone_at=now - timedelta(days=2))
    goals["lead"].refresh_from_db()
    for days, name in enumerate(("purchase", "signup", "lead"), start=3):
        _map(account, goals[name], name)
        MappingChange.objects.create(
            account=account,
            event_name=name,
            after={"goal": goals[name].name, "goal_id": goals[name].goal_id, "value": "event"},
            changed_by=actor,
            created_at=now - timedelta(days=days * 9),
        )
    return goals


def _map(account: AdAccount, goal: ConversionGoal, name: str = "purchase") -> None:
    GoalMapping.objects.create(account=account, event_name=name, goal=goal)


# What happened


def _event(site: Site, chance: random.Random, at: datetime, name: str = "purchase", **fields: Any) -> Event:
    """Return an event, not stored."""
    number = chance.randrange(40_000, 99_999)
    is_order = name == "purchase"
    given: dict[str, Any] = {
        "event_id": f"{name}-{_uuid(chance)}",
        "occurred_at": at - timedelta(seconds=2),
        "received_at": at,
        "planned_at": at,
        "created_at": at,
        "source": chance.choice((Source.BROWSER, Source.BROWSER, Source.SERVER)),
        "value": Decimal(chance.randrange(1_990, 28_995)) / 100 if is_order else None,
        "currency": "USD" if is_order else "",
        "transaction_id": f"HP-{number}" if is_order else "",
        "visitor_id": _uuid(chance).hex,
        "session_id": _uuid(chance).hex,
        "msclkid": _uuid(chance).hex,
        "consent": Consent.GRANTED,
        "properties": {"items": 2, "coupon": "AUTUMN"} if is_order else {},
        "fingerprint": "0" * 64,
    }
    return Event(site=site, name=name, **(given | fields))


def _delivery(
    account: AdAccount, event: Event, goal: ConversionGoal | None, status: str, chance: random.Random, **fields: Any
) -> Delivery:
    """Return a delivery of an event, not stored; a minute after it, unless it says otherwise."""
    at: datetime = fields.pop("at", event.received_at + timedelta(minutes=1))
    key = f"{goal.goal_id}:{event.event_id}" if goal else f"skip:{event.event_id}"
    given: dict[str, Any] = {
        "public_id": _uuid(chance),
        "goal": goal,
        "goal_name": goal.name if goal else "",
        "dedupe_key": key[:200],
        "conversion_time": f"{event.occurred_at:%Y-%m-%dT%H:%M:%SZ}" if goal else "",
        "msclkid": event.msclkid[:40] if goal else "",
        "click_source": ClickSource.EVENT if goal else ClickSource.NONE,
        "clicked_at": event.occurred_at - timedelta(hours=30) if goal and event.msclkid else None,
        "value": event.value,
        "currency": event.currency,
        "order_value": event.value,
        "order_currency": event.currency,
        "order_source": event.source,
        "transaction_id": event.transaction_id,
        "attempts": 1 if status in (Status.DELIVERED, Status.FAILED) else 0,
        "delivered_at": at if status == Status.DELIVERED else None,
        "next_attempt_at": at + timedelta(minutes=40) if status in WAITING else None,
        "expires_at": event.occurred_at + timedelta(days=89),
        "created_at": event.received_at,
        "changed_at": at,
    }
    return Delivery(account=account, event=event, status=status, **(given | fields))


def _traffic(
    account: AdAccount, goals: dict[str, ConversionGoal], chance: random.Random, now: datetime, share: int = 14
) -> None:
    """Let `share` events a day arrive, most of them delivered."""
    events, deliveries = [], []
    for number in range(DAYS * share):
        at = now - timedelta(days=1, minutes=number * 24 * 60 // share + chance.randrange(50))
        name = chance.choices(["purchase", "signup", "lead", "page_view"], [10, 2, 1, 3])[0]
        event = _event(account.site, chance, at, name)
        if name not in goals:
            continue
        events.append(event)
        if goals[name].gone_at is None:
            deliveries.append(_delivery(account, event, goals[name], Status.DELIVERED, chance))
        else:
            deliveries.append(_delivery(account, event, goals[name], Status.FAILED, chance, **_NO_SUCH_GOAL))
    Event.objects.bulk_create(events)
    Delivery.objects.bulk_create(deliveries)
    views = [_event(account.site, chance, now - timedelta(hours=3 * n + 1), "page_view") for n in range(share)]
    Event.objects.bulk_create(views)
    Delivery.objects.bulk_create(
        _delivery(account, event, None, Status.SKIPPED, chance, skip_reason=Skip.NOT_MAPPED) for event in views
    )


def _refusal(code: int, symbol: str, message: str) -> dict[str, Any]:
    return {"error_code": code, "error_symbol": symbol, "error_message": message}


_CLICK_REFUSED = _refusal(5604, "OfflineConversionMicrosoftClickIdInvalid", "The Microsoft click id is not valid.")
_TOO_OLD = _refusal(5609, "OfflineConversionTimeOutOfWindow", "The conversion is older than 90 days.")
_NO_SUCH_GOAL = _refusal(
    5606, "OfflineConversionNameInvalid", "The conversion name does not match an existing offline conversion goal."
)


def _deliveries(
    account: AdAccount, goals: dict[str, ConversionGoal], actor: User, chance: random.Random, now: datetime
) -> dict[str, Delivery]:
    """Store one delivery of today in each state, and return them by the state's name."""
    made: dict[str, Delivery] = {}
    cases: dict[str, tuple[str, dict[str, Any]]] = {
        "delivered": (Status.DELIVERED, {}),
        "restated": (Status.DELIVERED, {"restated_value": Decimal("59.95")}),
        "retracted": (Status.DELIVERED, {"retracted_at": now - timedelta(minutes=20)}),
        "pending": (Status.PENDING, {"hold_reason": Hold.CLICK_SETTLING, **_just_clicked(now)}),
        "held": (Status.PENDING, {"hold_reason": Hold.BY_HAND}),
        "retrying": (
            Status.RETRYING,
            {"attempts": 3, "error_code": 117, "error_symbol": "CallRateExceeded", "error_message": "Slow down."},
        ),
        "failed": (Status.FAILED, _CLICK_REFUSED),
        "expired": (Status.FAILED, _TOO_OLD),
    }
    # When each came: a correction is said after its conversion, and the fourth try of one is a while after it.
    ago = {"restated": 48, "retracted": 52, "retrying": 24, "expired": 32}
    for minutes, (name, (status, fields)) in enumerate(cases.items(), start=1):
        at = now - timedelta(minutes=ago.get(name, 4 * minutes))
        # A backend may report what happened long ago.
        happened = at - timedelta(days=91 if name == "expired" else 0, seconds=2)
        source = {"source": Source.SERVER} if name == "expired" else {}
        event = _event(account.site, chance, at, value=Decimal("129.95"), occurred_at=happened, **source)
        event.save()
        made[name] = _delivery(account, event, goals["purchase"], status, chance, **fields)
        made[name].save()
    for minutes, reason in enumerate(Skip, start=50):
        event = _event(account.site, chance, now - timedelta(minutes=minutes), source=Source.SERVER)
        event.save()
        _delivery(account, event, None, Status.SKIPPED, chance, skip_reason=reason).save()
    _calls(account, made, chance)
    _corrections(account, made, actor, chance, now)
    return made


def _just_clicked(now: datetime) -> dict[str, Any]:
    """Return the fields of a conversion whose click Microsoft may not know yet."""
    clicked_at = now - timedelta(minutes=37)
    return {"clicked_at": clicked_at, "next_attempt_at": clicked_at + timedelta(hours=1)}


def _calls(account: AdAccount, made: dict[str, Delivery], chance: random.Random) -> None:
    """Write down the calls that the deliveries went out with, and what was not taken."""
    for name in ("delivered", "restated", "retracted", "retrying", "failed", "expired"):
        row = made[name]
        refused = name not in ("delivered", "restated", "retracted")
        for number in range(max(row.attempts, 1)):
            at = row.changed_at + timedelta(minutes=3 * number)
            upload = Upload.objects.create(
                public_id=_uuid(chance),
                account=account,
                operation=Operation.CONVERSIONS,
                delivery_ids=[row.pk],
                leased_until=at,
                started_at=at,
                finished_at=at,
                seconds=0.412,
                http_status=429 if name == "retrying" else 200,
                tracking_id=str(_uuid(chance)),
                accepted=0 if refused else 1,
                refused=1 if refused else 0,
                answer=_answer(row),
            )
            if refused:
                Attempt.objects.create(
                    delivery=row,
                    upload=upload,
                    outcome=Attempt.Outcome.RETRY if name == "retrying" else Attempt.Outcome.REFUSED,
                    error_code=row.error_code,
                    error_symbol=row.error_symbol,
                    error_message=row.error_message,
                    created_at=upload.started_at,
                )
        Delivery.objects.filter(pk=row.pk).update(last_upload=upload, changed_at=at)


def _sent(row: Delivery, chance: random.Random) -> None:
    """Write down the call in which Microsoft accepted a row."""
    row.last_upload = Upload.objects.create(
        public_id=_uuid(chance),
        account=row.account,
        operation=Operation.CONVERSIONS if row.kind == Kind.CONVERSION else Operation.ADJUSTMENTS,
        delivery_ids=[row.pk],
        leased_until=row.changed_at,
        started_at=row.changed_at,
        finished_at=row.changed_at,
        seconds=0.398,
        http_status=200,
        tracking_id=str(_uuid(chance)),
        accepted=1,
        refused=0,
        answer=_answer(row),
    )
    row.save(update_fields=["last_upload"])


def _answer(row: Delivery) -> str:
    """Return what Microsoft answers about a row by itself."""
    if row.error_code is None:
        return '{"PartialErrors": []}'
    said = {"Code": row.error_code, "ErrorCode": row.error_symbol, "Message": row.error_message}
    if row.status == Status.RETRYING:
        return json.dumps({"Type": "AdApiFaultDetail", "Errors": [{**said, "Detail": None}]})
    return json.dumps({"PartialErrors": [{"Type": "BatchError", "Index": 0, **said, "Details": None}]})


def _corrections(
    account: AdAccount, made: dict[str, Delivery], actor: User, chance: random.Random, now: datetime
) -> None:
    for name, kind, said in (("restated", Kind.RESTATE, Said.RESTATE), ("retracted", Kind.RETRACT, Said.RETRACT)):
        original = made[name]
        value = original.restated_value
        row = _delivery(
            account,
            original.event,
            original.goal,
            Status.DELIVERED,
            chance,
            kind=kind,
            original=original,
            dedupe_key=f"{kind}:{original.dedupe_key}",
            adjustment_time=f"{now - timedelta(minutes=21):%Y-%m-%dT%H:%M:%SZ}",
            value=value,
            at=now - timedelta(minutes=20),
            created_at=now - timedelta(minutes=21),
        )
        row.save()
        _sent(row, chance)
        Correction.objects.create(
            delivery=row,
            said=said,
            value=value,
            currency="USD",
            occurred_at=now - timedelta(minutes=21),
            said_by=actor,
            created_at=now - timedelta(minutes=21),
        )


def _hostile(account: AdAccount, goal: ConversionGoal, chance: random.Random, now: datetime) -> None:
    """Let events arrive whose every free field tries something."""
    tries = [SCRIPT, HANDLER, FORMULA, BACKWARDS, LONG_WORD]
    for minutes, text in enumerate(tries, start=2):
        fields = {
            "event_id": f"{text}-{minutes}"[:128],
            "transaction_id": text[:128],
            "external_id": text[:128],
            "properties": {text: text, "long": LONG, "nested": {"deep": [SCRIPT, LONG]}},
        }
        event = _event(account.site, chance, now - timedelta(minutes=minutes), text[:64], **fields)
        event.value, event.currency = Decimal("999999999999.999"), "USD"
        event.save()
        status = (Status.FAILED, Status.DELIVERED)[minutes % 2]
        refusal = {"error_code": 5604, "error_symbol": text[:100], "error_message": text + LONG[:900]}
        _delivery(account, event, goal, status, chance, **(refusal if status == Status.FAILED else {})).save()
        unmapped = _event(account.site, chance, now - timedelta(minutes=minutes), f"{text}"[:60], msclkid=text)
        unmapped.save()
        _delivery(account, unmapped, None, Status.SKIPPED, chance, skip_reason=Skip.NOT_MAPPED).save()
    Click.objects.create(
        site=account.site,
        msclkid=_uuid(chance).hex,
        visitor_id=SCRIPT,
        landing_url=f"https://shop.harborpine.example/{SCRIPT}?{'q' * 900}"[:1000],
        captured_at=now - timedelta(minutes=4),
    )


# What surrounds it


def _imports(site: Site, actor: User, chance: random.Random, now: datetime) -> dict[str, Import]:
    """Return an import that waits for its person, with rows to fix, and one that is done."""
    made = {name: _import(site, actor, chance, now, f"{name}.csv") for name in ("done", "checked")}
    source = made["done"]
    working.confirm(source, actor, now)
    store(source)
    source.refresh_from_db()
    return made


def _import(site: Site, actor: User, chance: random.Random, now: datetime, name: str) -> Import:
    at = f"{now - timedelta(hours=6):%Y-%m-%dT%H:%M:%SZ}"
    lines = ["event_id,name,occurred_at,value,currency,transaction_id,msclkid"]
    lines += [f"{name}-{n},purchase,{at},{20 + n}.00,USD,CRM-{name}-{n},{_uuid(chance).hex}" for n in range(12)]
    lines += [f'{name}-x,purchase,{at},"{SCRIPT}",USD,{FORMULA},{_uuid(chance).hex}', f"{name}-y,visit,{at},1,EURO,,"]
    source = take_file(site, io.BytesIO("\n".join(lines).encode()), name, FileOptions(), actor, now)
    source.public_id = _uuid(chance)
    source.save(update_fields=["public_id"])
    check(source)
    source.refresh_from_db()
    return source


def _around(world: World, chance: random.Random, *, is_hostile: bool) -> None:
    """Add what people and machines left around the conversions: keys, refusals, entries, tests, jobs, reports."""
    site, now = world.site, world.now
    odd, long = (SCRIPT, LONG_WORD) if is_hostile else ("Staging", "")
    _keys(world, chance, odd + long)
    for origin in ("https://old.harborpine.example", f"https://{'a' * 200 if is_hostile else 'blog'}.example"):
        BlockedOrigin.objects.create(site=site, origin=origin, first_at=now - timedelta(days=2), last_at=now)
    RefusedItem.objects.create(
        site=site,
        source=Source.SERVER,
        what="events",
        member="currency",
        code="currency_lower_case",
        first_at=now - timedelta(hours=5),
        last_at=now - timedelta(minutes=9),
    )
    _clicks(site, chance, now)
    _people_asked(world, chance)
    _entries(world, odd if is_hostile else "", long)
    _answers_of_microsoft(world.account, now)
    _tests_and_jobs(world, chance)
    Heartbeat.objects.create(name="sweep", beat_at=now)


def _keys(world: World, chance: random.Random, odd: str) -> None:
    """Make a key that is used, one that is not any more and one that was revoked, and let the log tell of them."""
    now, daniel = world.now, world.people["daniel"]
    for number, (name, days, used_days) in enumerate([("Shop backend", 60, 0), (odd, 95, 91), ("", 90, 80)]):
        key, _ = ServerKey.objects.mint(world.site, name[:100])
        _identify(key, chance)
        prefix, made_at = f"sk_Qm3vX9a{'BCD'[number]}", now - timedelta(days=days)
        last_used_at = now - timedelta(days=used_days, minutes=2)
        ServerKey.objects.filter(pk=key.pk).update(prefix=prefix, created_at=made_at, last_used_at=last_used_at)
        key.refresh_from_db()
        _note(world, daniel, "server_key.create", key.name or str(key), {"key": str(key)}, now - timedelta(days=30))
    key.revoked_at = now - timedelta(days=3)
    key.save(update_fields=["revoked_at"])
    _note(world, world.people["jonas"], "server_key.revoke", str(key), {"key": str(key)}, key.revoked_at)


def _entries(world: World, odd: str, long: str) -> None:
    """Let the log tell what people did, oldest first, as it happened."""
    account, now = world.account, world.now
    restated = world.deliveries["restated"]
    of_restated = {"account": account.account_id, "delivery": str(restated.public_id), "deliveries": 1}
    goal = "Purchase" + long
    for minutes, name, action, target, details in (
        ((DAYS + 5) * 24 * 60 - 10, "maya", "account.add", str(account), {}),
        (1500, "jonas", "invitation.send", "petra@brightpath.example", {"role": [None, "developer"]}),
        (1440, "jonas", "membership.change", "lin@brightpath.example", {"role": ["developer", "viewer"]}),
        (300, "sofia", "mapping.change", odd or "purchase", {"account": str(account), "goal": [None, odd or goal]}),
        (240, "maya", "account.settings", str(account), {"enhanced_conversions": [False, True]}),
        (180, "maya", "account.pause", "Shopping – US (138204422)", {}),
        (
            21,
            "sofia",
            "delivery.restate",
            restated.transaction_id,
            {**of_restated, "before": {"USD": "129.95"}, "after": {"USD": str(restated.restated_value)}},
        ),
    ):
        _note(world, world.people[name], action, target, details, now - timedelta(minutes=minutes))


def _note(world: World, actor: User, action: str, target: str, details: Mapping[str, object], at: datetime) -> None:
    site = world.site
    audit.record(actor, action, organisation=site.organisation, site=site, target=target, details=details, now=at)


def _clicks(site: Site, chance: random.Random, now: datetime) -> None:
    Click.objects.bulk_create(
        Click(
            site=site,
            msclkid=_uuid(chance).hex,
            visitor_id=_uuid(chance).hex,
            landing_url="https://shop.harborpine.example/sale",
            captured_at=now - timedelta(minutes=7 * number),
            created_at=now - timedelta(minutes=7 * number),
        )
        for number in range(40)
    )


def _people_asked(world: World, chance: random.Random) -> None:
    for number, email in enumerate(("petra@brightpath.example", f"{'a' * 60}@{'b' * 60}.example")):
        invitation = Invitation.objects.create(
            organisation=world.site.organisation,
            email=email,
            role=Role.DEVELOPER,
            token_sha256=f"{number}" * 64,
            invited_by=world.people["maya"],
            expires_at=world.now + timedelta(days=6 - 8 * number),
        )
        _identify(invitation, chance)


def _answers_of_microsoft(account: AdAccount, now: datetime) -> None:
    today: date = now.date()
    for days in range(2, DAYS):
        for goal in account.goals.filter(gone_at=None)[:2]:
            Attribution.objects.create(
                account=account,
                goal_id=goal.goal_id,
                goal_name=goal.name,
                day=today - timedelta(days=days),
                success=9 + days % 3,
                unattributed=2,
                reasons={"NoMatchingClickFound": 1, "OutsideGoalLookbackWindow": 1},
                read_at=now - timedelta(hours=5),
            )


def _test(world: World, goal: ConversionGoal, chance: random.Random, minutes: int, **fields: Any) -> TestConversion:
    """Send a test to a goal as a worker would have, so many minutes ago; `fields` are of its delivery."""
    at = world.now - timedelta(minutes=minutes)
    event = _event(
        world.site,
        chance,
        at,
        event_id=f"test-{_uuid(chance)}",
        source=Source.TEST,
        value=Decimal("1.00"),
        transaction_id="",
        properties={GOAL_PROPERTY: goal.goal_id, GOAL_NAME_PROPERTY: goal.name},
    )
    event.save()
    status = Status.FAILED if fields else Status.DELIVERED
    row = _delivery(world.account, event, goal, status, chance, at=at + timedelta(seconds=3), is_test=True, **fields)
    row.last_upload = Upload.objects.create(
        public_id=_uuid(chance),
        account=world.account,
        operation=Operation.CONVERSIONS,
        delivery_ids=[],
        leased_until=at,
        started_at=row.changed_at,
        finished_at=row.changed_at,
        seconds=0.386,
        http_status=200,
        tracking_id=str(_uuid(chance)),
        accepted=0 if fields else 1,
        refused=1 if fields else 0,
        answer=_answer(row),
    )
    row.save()
    return TestConversion.objects.create(
        public_id=_uuid(chance),
        account=world.account,
        token=_uuid(chance),
        event=event,
        delivery=row,
        checks=[check.stored() for check in _checks(goal, row)],
        actor=world.people["daniel"],
        actor_name=world.people["daniel"].get_full_name(),
        created_at=at,
    )


def _checks(goal: ConversionGoal, row: Delivery) -> list[doctor.Check]:
    """Return what the doctor says of an account where all is well but, perhaps, the goal."""
    asked = doctor.Goal(
        name=goal.name,
        status="Active",
        is_listed=goal.gone_at is None,
        count_type=goal.count_type,
        window_minutes=goal.window_minutes,
        revenue_type=goal.revenue_type,
        is_enhanced=goal.is_enhanced,
    )
    listed = goal.account.goals.filter(gone_at=None).values_list("name", flat=True)
    tag = UetTag("343118260", "Harbor & Pine", "", "Active")
    first = [
        doctor.signed_in("ads@harborpine.example"),
        doctor.takes_conversions("Active", is_paused_here=False, left_alone_until=None),
        doctor.may_upload([203]),
        doctor.goal_exists(asked, listed),
    ]
    if not asked.is_listed:
        return first
    return [
        *first,
        doctor.goal_is_old_enough(asked, row.changed_at),
        doctor.goal_counts(asked, has_value=True),
        doctor.takes_hashes(asked, sends_hashes=True),
        doctor.auto_tagging(True),
        doctor.uet_tag(tag.tag_id, [tag]),
        doctor.click(short_click_id(row.msclkid), row.clicked_at, asked, timedelta(hours=1), row.changed_at),
    ]


def _tests_and_jobs(world: World, chance: random.Random) -> None:
    goals = {goal.name: goal for goal in world.account.goals.all()}
    world.tests["failed"] = _test(world, goals["Trade enquiry"], chance, 41, **_NO_SUCH_GOAL)
    passed = world.tests["passed"] = _test(world, goals["Purchase"], chance, 15)
    with transaction.atomic():
        take_back([passed.delivery_id or 0], passed.created_at)
    BulkJob.objects.create(
        public_id=_uuid(chance),
        account=world.account,
        action="retry",
        filters="status=failed",
        status=BulkJob.Status.DONE,
        total=14,
        seen=14,
        changed=12,
        refused={},
        actor=world.people["sofia"],
        actor_name="sofia@brightpath.example",
        created_at=world.now - timedelta(minutes=30),
        finished_at=world.now - timedelta(minutes=29),
    )


def _stranger(owner: User, chance: random.Random, now: datetime) -> Site:
    """Make another customer with one row of each kind."""
    organisation = _organisation("Tallis Vinyl Ltd.", chance)
    Membership.objects.create(user=owner, organisation=organisation, role=Role.OWNER)
    site = _site(organisation, "Tallis Vinyl", "https://tallis.example", chance)
    connection = make_connection(site, microsoft_user_id="50017002", microsoft_user_name="theo@tallis.example")
    account = make_account(site, "138206102", connection=connection, name="Tallis Vinyl – UK", currency="GBP")
    goal = ConversionGoal.objects.create(account=account, goal_id="81001", name="Purchase", synced_at=now)
    _map(account, goal)
    event = _event(site, chance, now - timedelta(hours=2))
    event.save()
    delivery = _delivery(account, event, goal, Status.FAILED, chance, **_CLICK_REFUSED)
    delivery.save()
    _import(site, owner, chance, now, "theirs.csv")
    ServerKey.objects.mint(site, "Theirs")
    Invitation.objects.create(
        organisation=organisation,
        email="petra@tallis.example",
        token_sha256="f" * 64,
        expires_at=now + timedelta(days=5),
    )
    TestConversion.objects.create(
        account=account, token=_uuid(chance), event=event, delivery=delivery, actor_name="theo", created_at=now
    )
    BulkJob.objects.create(account=account, action="retry", actor_name="theo", created_at=now)
    return site


def _values(site: Site, account: AdAccount, delivery: Delivery, source: Import) -> Values:
    """Return what stands for each parameter of an address, by its name. A new parameter is added here."""
    organisation = site.organisation
    return {
        "site_id": site.public_id,
        "account_id": account.account_id,
        "connection_id": account.connection.public_id,
        "delivery_id": delivery.public_id,
        "event_id": delivery.event.event_id,
        "adjustment_id": "none",
        "import_id": source.public_id,
        "format_": "convultra",
        "name": "convultra.v1.js",
        "uidb36": "1",
        "key": "set-password",
        "write_key": site.write_key,
        "key_id": site.server_keys.order_by("pk")[0].public_id,
        "test_id": account.test_conversions.latest("pk").public_id,
        "job_id": account.bulk_jobs.get().public_id,
        "invitation_id": organisation.invitations.order_by("pk")[0].public_id,
        "organisation_id": organisation.public_id,
        "token": "not-a-token",
        "device_id": 1,
        "member_id": organisation.memberships.order_by("pk").last().pk,  # type: ignore[union-attr]  # one is made
    }


def _identify(row: Model, chance: random.Random) -> None:
    """Give a row a public id of this world's, where the product made one by chance."""
    row.public_id = _uuid(chance)  # type: ignore[attr-defined]  # callers give such rows only
    row.save(update_fields=["public_id"])


def _uuid(chance: random.Random) -> uuid.UUID:
    return uuid.UUID(int=chance.getrandbits(128), version=4)
