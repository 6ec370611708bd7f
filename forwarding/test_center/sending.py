"""A test conversion from the Test Center: a real event and a real delivery, sent once by the ordinary road.

`begin` stores what a person asked for, once a token. A worker runs the doctor's checks and plans the delivery; then
`claim_test` takes it. What the worker does not come to within `TEST_PATIENCE` is given up: a test is never sent later.
"""

import hashlib
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.db.models import Q

from forwarding.errors import TEST_NOT_SENT, TEST_STOPPED
from forwarding.models import MAX_MESSAGE_CHARS, Delivery, Status, TestConversion
from forwarding.planning.single import draft_test
from forwarding.ringing import test_soon
from forwarding.rows.frozen import lock_accounts
from forwarding.rows.inserting import insert_deliveries
from forwarding.sending.claims import TEST_PATIENCE
from forwarding.test_center.doctor import Check
from forwarding.test_center.facts import Examination
from ingest.audit import record
from ingest.models import Consent, Event, Source
from integrations.models import AdAccount, ConversionGoal

# Which goal a test is for, in its event's properties: its event name may be mapped to another one later.
GOAL_PROPERTY, GOAL_NAME_PROPERTY = "test_goal", "test_goal_name"
# What was lost longer ago has been looked at.
_LOOKED_BACK = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person wants to be sent. `event_name` is the event that stands for it, `value` None for no value."""

    goal: ConversionGoal
    event_name: str
    value: Decimal | None
    currency: str
    msclkid: str
    retract_after: bool = True


def begin(account: AdAccount, wish: Wish, token: uuid.UUID, actor: User, now: datetime) -> TestConversion:
    """Store a test and ring for a worker; the same token again returns the test that it began. Reads `account.site`.

    Raises TestConversion.DoesNotExist for a token that began a test of another account.
    """
    begun = TestConversion.objects.filter(account=account, token=token).first()
    if begun is not None:
        return begun
    try:
        with transaction.atomic():
            event = event_of(account, wish, str(token), now)
            event.planned_at = now  # not by the planner, which would send it to every account that maps its name
            event.save()
            test = TestConversion.objects.create(
                account=account,
                token=token,
                event=event,
                retract_after=wish.retract_after,
                actor=actor,
                actor_name=actor.get_full_name() or actor.email,
                created_at=now,
            )
            _note(test, wish, actor, now)
            test_soon(test.pk)
            return test
    except IntegrityError:  # the same form, sent twice at once
        return TestConversion.objects.get(account=account, token=token)


def event_of(account: AdAccount, wish: Wish, name: str, now: datetime) -> Event:
    """Return the unsaved event of a test. The person who sends it stands for its consent."""
    return Event(
        site_id=account.site_id,
        event_id=f"test-{name}",
        name=wish.event_name,
        occurred_at=now.replace(microsecond=0),
        received_at=now,
        source=Source.TEST,
        value=wish.value,
        currency="" if wish.value is None else wish.currency,
        msclkid=wish.msclkid,
        consent=Consent.GRANTED,
        properties={GOAL_PROPERTY: wish.goal.goal_id, GOAL_NAME_PROPERTY: wish.goal.name},
        fingerprint=hashlib.sha256(name.encode()).hexdigest(),
    )


def goal_name_of(test: TestConversion) -> str:
    """Return the name of a test's goal: the one that is sent or, before it is planned, the one that was chosen."""
    if test.delivery is not None:
        return test.delivery.goal_name
    return str(test.event.properties.get(GOAL_NAME_PROPERTY, "")) if test.event else ""


def dry_run(account: AdAccount, wish: Wish, now: datetime) -> Delivery:
    """Return the delivery that a test would be, unsaved: nothing is stored or sent."""
    return draft_test(event_of(account, wish, "dry-run", now), account, wish.goal, now)


def check_and_plan(test_id: int, now: datetime) -> int | None:
    """Make the checks, each shown as soon as it is made, and plan the delivery; return the account that has to send.

    None when there is nothing to send: a check stopped it, or somebody else came first. Safe to run twice.
    """
    test = TestConversion.objects.select_related("account__site", "account__connection", "event").get(pk=test_id)
    if test.delivery_id is not None or test.event is None or test.created_at <= now - TEST_PATIENCE:
        return None
    draft = _draft(test, now)
    checks: list[Check] = []
    for check in Examination(draft, now):
        checks.append(check)
        test.checks = [one.stored() for one in checks]
        test.save(update_fields=["checks"])
    last = checks[-1]
    stopped_by = None if last.is_sent else f"{last.title}: {last.note}. {last.fix}"
    # Under the name that the goal has now.
    return test.account_id if _plan(test, stopped_by, TEST_STOPPED, now) else None


def give_up(now: datetime) -> int:
    """Fail the tests that nobody came to in time; return how many."""
    lost = TestConversion.objects.filter(created_at__lte=now - TEST_PATIENCE, created_at__gt=now - _LOOKED_BACK)
    unsent = lost.filter(Q(delivery=None, event__isnull=False) | Q(delivery__status=Status.PENDING))
    found = list(unsent.select_related("account__site", "event"))
    return sum(_give_up(test, now) for test in found)


@transaction.atomic
def _give_up(test: TestConversion, now: datetime) -> bool:
    if test.delivery_id is None:
        _plan(test, "No worker came in time.", TEST_NOT_SENT, now)
        return True
    if test.delivery_id in lock_accounts([test.account_id]):
        return False  # on its way: its answer, or the end of its lease, decides
    waiting = Delivery.objects.filter(pk=test.delivery_id, status=Status.PENDING)
    return bool(waiting.update(status=Status.FAILED, error_symbol=TEST_NOT_SENT, changed_at=now))


@transaction.atomic
def _plan(test: TestConversion, stopped_by: str | None, symbol: str, now: datetime) -> bool:
    """Store the delivery of a test, failed where something stopped it; return whether it is to be sent."""
    locked = TestConversion.objects.select_for_update(of=("self",)).get(pk=test.pk)
    if locked.delivery_id is not None:
        return False
    delivery = _draft(test, now)
    if stopped_by is not None:
        delivery.status, delivery.error_symbol = Status.FAILED, symbol
        delivery.error_message = stopped_by[:MAX_MESSAGE_CHARS]
    insert_deliveries([delivery])
    locked.delivery = delivery
    locked.save(update_fields=["delivery"])
    return delivery.status == Status.PENDING


def _draft(test: TestConversion, now: datetime) -> Delivery:
    assert test.event is not None
    goal = test.account.goals.get(goal_id=test.event.properties[GOAL_PROPERTY])
    return draft_test(test.event, test.account, goal, now)


def _note(test: TestConversion, wish: Wish, actor: User, now: datetime) -> None:
    site = test.account.site
    details = {
        "goal": wish.goal.name,
        "value": wish.value,
        "currency": wish.currency,
        "retract_after": wish.retract_after,
    }
    record(
        actor,
        "test.send",
        organisation=site.organisation,
        site=site,
        target=str(test.account),
        details=details,
        now=now,
    )
