"""The state machine: shops, workers, people and Microsoft do things in any order; what must hold is checked after each.

The real product runs in this process: requests come in through its views, its queue is a list, Microsoft is the
emulator, the clock stands still between steps. A worker dies by an exception that nobody catches.
"""

import hashlib
import itertools
import json
import logging
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, ClassVar
from unittest import mock

import time_machine
from django.db import connection as database
from django.db import transaction
from django.test import Client, override_settings
from django.utils import timezone
from django.utils.module_loading import import_string
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from convultra import failpoints
from forwarding import apps, ringing, tasks
from forwarding.hands.actions import apply
from forwarding.hands.rules import Action
from forwarding.models import AcceptedDay, DailyCount, Delivery, Operation, Upload
from forwarding.rows.counts import rebuild
from forwarding.sending.claims import claim
from forwarding.sending.marking import record_answer, record_failure
from ingest.models import ConsentPolicy, Site
from integrations import account_settings, connecting, mapping
from integrations.microsoft_ads.emulator.books import Booking
from integrations.models import AdAccount
from tests.cast import NOON
from tests.model import ledger, rows
from tests.model.ledger import Adjustment, Fact, Lane
from tests.model.rows import Row
from tests.model.stage import Shop, Stage, ledger_of
from tests.model.wire import OverheardMicrosoft

WHICH = st.integers(0, 40)  # chooses one of a list of any length
AGES = st.sampled_from(
    [
        *[timedelta(hours=2)] * 5,
        *(timedelta(0), timedelta(minutes=-3), timedelta(days=4)),
        *(timedelta(days=89), timedelta(days=89, hours=19), timedelta(days=91)),
    ]
)
VALUES = st.sampled_from([None, *(Decimal(text) for text in ("0", "19.9", "79.99", "100.001", "1234567.89"))])
PARTS = st.sampled_from([None, *(Decimal(text) for text in ("0", "0.01", "19.9", "79.99", "2000000"))])
NAMES = st.sampled_from(["purchase", "purchase", "purchase", "lead"])
PEOPLE = st.sampled_from(["click", "click", "click", "same click", "e-mail", "nobody"])
CONSENTS = st.sampled_from(["", "", "granted", "denied"])
SOURCES = st.sampled_from(["browser", "server"])
# None: until every lease has ended.
WAITS = st.sampled_from(
    [None, None]
    + [timedelta(minutes=minutes) for minutes in (1, 1, 1, 6, 6, 61, 61, 61, 200, 400, 400, 400, 1440, 12000, 144000)]
)
GOAL_VALUES = st.sampled_from(["event", "event", "event", "none", Decimal("25.5")])
DEATHS = st.sampled_from(
    [
        *(failpoints.HALF_PLANNED, failpoints.AFTER_CLAIM, failpoints.AFTER_SEND, failpoints.HALF_MARKED),
        failpoints.AFTER_TOKENS,
    ]
)
UPLOADS = st.sampled_from(["OfflineConversions/Apply"] * 3 + ["OfflineConversionAdjustments/Apply"])
OVER_THE_WIRE: list[dict[str, Any]] = [
    *({"fault": kind} for kind in ("503", "500", "429", "throttled", "token_expired", "close_before")),
    *({"fault": kind} for kind in ("close_after", "truncated", "html", "empty", "wrong_shape", "index_out_of_range")),
    {"fault": "delay", "seconds": 600},
    {"fault": "fault_code", "code": 106, "error_code": "UserIsNotAuthorized", "status": 403},
    {"fault": "fault_code", "code": 1008, "error_code": "CampaignServiceInvalidAccountStatus", "status": 400},
    {"fault": "fault_code", "code": 113, "error_code": "InvalidDateObject", "status": 400},
    {"fault": "fault_code", "code": 201, "error_code": "ApiInputValidationError", "status": 400},
    {"fault": "fault_code", "code": 0, "error_code": "InternalError", "status": 500},
]
ABOUT_ROWS = [
    (5604, "OfflineConversionMicrosoftClickIdInvalid"),
    (5606, "OfflineConversionNameInvalid"),
    (5612, "OfflineConversionsApplyFailed"),
    (5615, "OfflineConversionNotAcceptedForGoal"),
    (5999, "SomethingNobodyDocumented"),
]
MAX_WAITS = 400  # of the healing: far more than any example needs
# What the examples of a run came across.
SEEN: Counter[str] = Counter()

_send = tasks.send


class Killed(BaseException):
    """What `kill -9` is to a process: nobody catches it."""


class Conversions(RuleBasedStateMachine):
    """Conversions from every door to Microsoft's books."""

    stage: ClassVar[Stage]
    microsoft: OverheardMicrosoft

    def __init__(self) -> None:
        super().__init__()
        with ExitStack() as entering:
            entering.callback(logging.disable, logging.root.manager.disable)
            logging.disable(logging.CRITICAL)
            self.time = entering.enter_context(time_machine.travel(NOON, tick=False))
            self.microsoft = OverheardMicrosoft(self.stage.fresh_books())
            entering.enter_context(self.microsoft)
            entering.enter_context(mock.patch.object(tasks, "async_task", self.enqueue))
            entering.enter_context(mock.patch.object(ringing, "async_task", self.enqueue))
            entering.enter_context(mock.patch.object(apps, "HINT_SECONDS", 0))
            entering.enter_context(mock.patch.object(tasks, "send", self.send))
            entering.enter_context(mock.patch.object(failpoints, "reach", self.reach))
            entering.enter_context(override_settings(UPLOAD_LINGER_SECONDS=0))
            entering.enter_context(rolled_back())
            self.leaving = entering.pop_all()
        self.ledger = ledger_of(self.stage)
        self.rows: dict[int, Row] = {}
        self.queue: list[tuple[str, tuple[Any, ...]]] = []
        self.stopped: list[Callable[[], object]] = []
        self.dies_at = ""
        self.clicks: dict[int, str] = {}
        self.numbers = itertools.count(1)
        self.http = Client()
        for known in self.ledger.accounts.values():
            for name in ("purchase", ledger.REFUND):
                self.map(known, name, ledger.Rule(min(known.goals)))

    # The stage

    @property
    def accounts(self) -> list[AdAccount]:
        return [account for shop in self.stage.shops for account in shop.accounts]

    def shop(self, which: int) -> Shop:
        return self.stage.shops[which % 3 // 2]

    def account(self, which: int) -> AdAccount:
        return AdAccount.objects.get(pk=self.accounts[which % 3].pk)

    def enqueue(self, name: str, *args: Any) -> None:
        if (name, args) not in self.queue and name != "forwarding.tasks.tell":  # mails are no part of this
            self.queue.append((name, args))

    def reach(self, name: str) -> None:
        if name == self.dies_at:
            self.dies_at = ""
            raise Killed

    def commit(self) -> None:
        """Do what was to be done once the transaction is committed."""
        while database.run_on_commit:
            database.run_on_commit.pop(0)[1]()

    # Shops

    def post(self, shop: Shop, source: str, what: str, *said: dict[str, object]) -> list[str]:
        """Report events or adjustments by one of the doors; return what became of each."""
        if source == "browser":
            path, headers = f"/v1/{shop.site.write_key}/{what}", {"Origin": "https://shop.example"}
        else:
            path, headers = f"/v1/{what}", {"Authorization": f"Bearer {shop.secret}"}
        answer = self.http.generic("POST", path, json.dumps({what: said}), "application/json", headers=headers)
        self.commit()
        if answer.status_code in (409, 422):
            is_conflict = {error["code"] for error in answer.json()["errors"]} == {"conflict"}
            return ["conflict" if is_conflict else "refused"] * len(said)
        assert answer.status_code == 202, answer.content
        return [result["status"] for result in answer.json()["results"]]

    def report(self, *facts: Fact) -> None:
        """Report events and take down what was accepted."""
        answers = self.post(self.shop_of(facts[0]), facts[0].source, "events", *(fact.as_json() for fact in facts))
        for fact, status in zip(facts, answers, strict=True):
            assert status == "accepted", status
            self.ledger.accept(fact)

    def fact(self, which: int, source: str, name: str, age: timedelta, value: Decimal | None, **more: Any) -> Fact:
        """Make up an event that never was before."""
        number, shop = next(self.numbers), self.shop(which)
        person = more.pop("person", "click")
        email = hashlib.sha256(f"{number}@example.com".encode()).hexdigest() if person == "e-mail" else ""
        said = {"order": f"order-{number}" if number % 3 else "", "currency": shop.site.currency} | more
        if value is None:
            said["currency"] = ""
        return Fact(
            shop=shop.site.pk,
            event_id=f"event-{number}",
            name=name,
            at=timezone.now() - age,
            source=source,  # type: ignore[arg-type]
            value=_thousandths(value),
            click=self.click(shop, person, number),
            email_sha256=email,
            **said,
        )

    def click(self, shop: Shop, person: str, number: int) -> str:
        if person in ("e-mail", "nobody"):
            return "" if number % 2 else ledger.NO_CLICK
        if person == "click" or shop.site.pk not in self.clicks:
            self.clicks[shop.site.pk] = f"{number:032x}"
        known = self.clicks[shop.site.pk]
        return known.upper() if number % 4 == 0 else known

    @initialize(first=st.lists(VALUES, min_size=2, max_size=6), second=st.lists(VALUES, min_size=1, max_size=3))
    def a_day_begins(self, first: list[Decimal | None], second: list[Decimal | None]) -> None:
        """Most examples are about conversions that wait, so there are some from the start."""
        self.a_batch_comes(0, first)
        self.a_batch_comes(2, second)

    @rule(which=WHICH, source=SOURCES, name=NAMES, age=AGES, value=VALUES, person=PEOPLE, consent=CONSENTS)
    def an_event_comes(self, **said: Any) -> None:
        self.report(self.fact(**said))

    @rule(which=WHICH, values=st.lists(VALUES, min_size=2, max_size=6))
    def a_batch_comes(self, which: int, values: list[Decimal | None]) -> None:
        self.report(*(self.fact(which, "server", "purchase", timedelta(hours=2), value) for value in values))

    @rule(which=WHICH, browser=VALUES, backend=VALUES, is_browser_first=st.booleans(), comes_later=st.booleans())
    def an_order_comes_by_both_doors(
        self, which: int, browser: Decimal | None, backend: Decimal | None, is_browser_first: bool, comes_later: bool
    ) -> None:
        order = f"both-{next(self.numbers)}"
        page = self.fact(which, "browser", "purchase", timedelta(hours=2), browser, order=order)
        other = self.fact(which, "server", "purchase", timedelta(hours=2), backend, order=order, person="nobody")
        first, second = (page, other) if is_browser_first else (other, page)
        self.report(first)
        if comes_later:
            self.workers_do_what_is_due()
        self.report(second)

    @rule(which=WHICH, source=SOURCES, name=NAMES, value=VALUES, person=PEOPLE, consent=CONSENTS)
    def a_known_order_is_told_again(self, which: int, **said: Any) -> None:
        """By an event of its own, with what it knows."""
        fact = self.some_fact(which)
        shop = self.stage.shops.index(self.shop_of(fact)) * 2
        self.report(self.fact(shop, age=timedelta(hours=2), order=fact.order or "alone", **said))

    @rule(which=WHICH, is_same=st.booleans())
    def an_event_comes_again(self, which: int, is_same: bool) -> None:
        fact = self.some_fact(which)
        said = fact.as_json() if is_same else fact.as_json() | {"value": "3.14"}
        answer = self.post(self.shop_of(fact), fact.source, "events", said)
        assert answer == ["duplicate" if is_same else "conflict"], answer

    def some_fact(self, which: int) -> Fact:
        return list(self.ledger.facts.values())[which % len(self.ledger.facts)]

    def shop_of(self, fact: Fact | Adjustment) -> Shop:
        return next(shop for shop in self.stage.shops if shop.site.pk == fact.shop)

    # Workers

    def run(self, name: str, args: tuple[Any, ...]) -> None:
        """Do a task of the queue."""
        if name == "forwarding.tasks.sweep":
            standing = rows.read_standing(rows.read_rows())
            tasks.sweep()
            self.ledger.plan(timezone.now(), standing)
        else:
            import_string(name)(*args)
        self.commit()
        self.look()

    def sweep(self) -> None:
        self.run("forwarding.tasks.sweep", ())

    def run_all(self) -> None:
        while self.queue:
            self.run(*self.queue.pop(0))

    def send(self, upload: Upload) -> None:
        self.microsoft.sending = upload.delivery_ids
        _send(upload)
        self.look()

    @rule()
    def workers_do_what_is_due(self) -> None:
        self.sweep()
        self.run_all()

    @rule(which=WHICH)
    def a_sweep_rings_and_a_task_runs_twice(self, which: int) -> None:
        self.sweep()
        for name, args in self.queue[which % 4 :][:1] * 2:
            self.run(name, args)

    @rule()
    def the_queue_is_lost(self) -> None:
        self.queue.clear()

    @rule(point=DEATHS)
    def a_worker_dies(self, point: str) -> None:
        self.dies_at = point
        try:
            self.workers_do_what_is_due()
        except Killed:
            SEEN[f"died {point}"] += 1
            self.commit()
        self.dies_at = ""

    @rule(which=WHICH, operation=st.sampled_from(Operation), has_sent=st.booleans())
    def a_worker_is_stopped(self, which: int, operation: Operation, has_sent: bool) -> None:
        """It has opened an upload, perhaps sent it, and does not go on for now."""
        upload = claim(self.account(which).pk, operation, timezone.now())
        if upload is None:
            return
        SEEN[f"stopped {'after' if has_sent else 'before'} sending {operation}"] += 1
        if not has_sent:
            self.stopped.append(lambda: self.send(upload))
            return
        with (
            mock.patch.object(tasks, "record_answer", self.later(record_answer)),
            mock.patch.object(tasks, "record_failure", self.later(record_failure)),
        ):
            self.send(upload)

    def later(self, mark: Callable[..., bool]) -> Callable[..., bool]:
        """Return what takes the place of a mark: it is made when the worker goes on."""

        def stop(upload: Upload, *said: Any) -> bool:
            self.stopped.append(lambda: self.mark_late(mark, upload, *said))
            return True

        return stop

    def mark_late(self, mark: Callable[..., bool], upload: Upload, *said: Any) -> None:
        """A worker whose upload was taken over marks nothing (I7)."""
        is_mine = Upload.objects.filter(pk=upload.pk, lease_token=upload.lease_token, finished_at=None).exists()
        before = rows.read_rows()
        is_marked = mark(upload, *said[:-1], timezone.now())
        SEEN[f"marked late, {'still' if is_mine else 'no longer'} its own"] += 1
        assert is_marked == is_mine, "a worker marks an upload that is not its own any more, or fails to mark its own"
        assert is_mine or rows.read_rows() == before, "a late mark changed rows"

    @precondition(lambda self: self.stopped)
    @rule(which=WHICH)
    def a_stopped_worker_goes_on(self, which: int) -> None:
        self.stopped.pop(which % len(self.stopped))()

    # Time

    @rule(wait=WAITS)
    def time_passes(self, wait: timedelta | None) -> None:
        if wait is not None:
            self.time.shift(wait)
            return
        ends = Upload.objects.filter(finished_at=None).values_list("leased_until", flat=True)
        self.time.move_to(max([timezone.now(), *ends]), tick=False)

    @rule(which=WHICH)
    def nobody_looks_until_what_waits_is_too_old(self, which: int) -> None:
        self.somebody_breaks_it(which, "pause")
        self.time_passes(timedelta(days=100))
        self.workers_do_what_is_due()

    # Microsoft

    @rule(operation=UPLOADS, fault=st.sampled_from(OVER_THE_WIRE), times=st.sampled_from([1, 1, 2, 6]))
    def calls_will_go_wrong(self, operation: str, fault: dict[str, Any], times: int) -> None:
        self.microsoft.control("faults", {"operation": operation, "times": times, **fault})

    @rule(
        operation=UPLOADS, error=st.sampled_from(ABOUT_ROWS), indexes=st.sets(st.integers(0, 5), min_size=1, max_size=3)
    )
    def rows_will_be_refused(self, operation: str, error: tuple[int, str], indexes: set[int]) -> None:
        code, symbol = error
        self.microsoft.fault(operation, "partial_error", code=code, error_code=symbol, indexes=[*sorted(indexes)])

    @rule(what=st.sampled_from(["expire", "503", "close_before", "close_after"]))
    def tokens_end(self, what: str) -> None:
        if what != "expire":
            self.microsoft.fault("token", what)
        self.microsoft.expire_tokens()

    @rule(which=WHICH, what=st.sampled_from(["rename", "rename", "delete", "restore"]))
    def a_goal_changes(self, which: int, what: str) -> None:
        goals = sorted(goal for account in self.ledger.accounts.values() for goal in account.goals)
        changes = {
            "rename": {"name": f"Goal {next(self.numbers)}"},
            "delete": {"status": "Deleted"},
            "restore": {"status": "Active"},
        }
        self.microsoft.control("goals", {"id": goals[which % len(goals)], **changes[what]})

    # People

    @rule(which=WHICH, goal=WHICH, name=NAMES, value=GOAL_VALUES, least=st.sampled_from([None, None, Decimal(50)]))
    def somebody_maps(self, which: int, goal: int, name: str, value: Any, least: Decimal | None) -> None:
        known = self.ledger.accounts[self.accounts[which % 3].pk]
        value = "event" if name == ledger.REFUND else value  # a refund takes no other
        self.map(known, name, ledger.Rule(list(known.goals)[goal % len(known.goals)], value, least))

    @rule(which=WHICH, name=NAMES)
    def somebody_unmaps(self, which: int, name: str) -> None:
        self.map(self.ledger.accounts[self.accounts[which % 3].pk], name, None)

    def map(self, known: ledger.Account, name: str, wanted: ledger.Rule | None) -> None:
        rule = None
        if wanted is not None:
            when = "" if wanted.least is None else f"value >= {wanted.least}"
            rule = mapping.Rule(wanted.goal_id, wanted.value, when)
        try:
            mapping.set_mapping(AdAccount.objects.get(pk=known.pk), name, rule, None, timezone.now())
        except mapping.MappingRefused:  # the goal is gone, as far as the product knows
            return
        known.rules.pop(name, None)
        if wanted is not None:
            known.rules[name] = wanted
        self.commit()

    @rule(which=WHICH, what=st.sampled_from(["pause", "revoke", "disconnect"]))
    def somebody_breaks_it(self, which: int, what: str) -> None:
        shop, account = self.shop(which), self.account(which)
        if what == "pause":
            account_settings.pause(account, shop.owner, timezone.now())
        elif what == "revoke":
            self.microsoft.control("revoke", {"user": shop.user_name})
        else:
            connecting.disconnect(shop.connection, shop.owner, timezone.now())
        self.commit()

    @rule()
    def somebody_repairs_it(self) -> None:
        self.microsoft.faults.clear()
        for shop in self.stage.shops:
            self.microsoft.connect(shop.site, shop.owner, shop.user_name)
            for account in AdAccount.objects.filter(site=shop.site):
                account_settings.resume(account, shop.owner, timezone.now())
        self.commit()

    @rule(which=WHICH)
    def a_site_changes_its_consent_policy(self, which: int) -> None:
        site = self.shop(which).site
        wish = self.ledger.shops[site.pk]
        wish.needs_consent = not wish.needs_consent
        policy = ConsentPolicy.REQUIRE if wish.needs_consent else ConsentPolicy.ASSUME
        Site.objects.filter(pk=site.pk).update(consent_policy=policy)

    # What must hold

    def look(self) -> None:
        """Compare the rows with what they were at the last look."""
        before, self.rows = self.rows, rows.read_rows()
        rows.check_history(before, self.rows)
        for pk, old in before.items():
            if old.goal_id != self.rows[pk].goal_id and old.is_conversion and not old.skip_reason:
                self.goal_was_changed(old, self.rows[pk])

    def goal_was_changed(self, old: Row, new: Row) -> None:
        """Only what Microsoft surely does not have goes elsewhere: to where its event is mapped now (I6)."""
        assert old.pk not in self.microsoft.said, f"sent as {old}, and now it is {new}"
        fact = self.ledger.facts[old.event]
        assert self.ledger.accounts[old.account_id].rules[fact.name].goal_id == new.goal_id, new
        self.ledger.move(self.ledger.lanes[old.account_id, old.dedupe_key], new.goal_id)

    @invariant()
    def everything_adds_up(self) -> None:
        self.look()
        rows.check_states(self.rows)
        rows.check_claims(self.rows)
        rows.check_events(self.ledger)
        rows.check_fates(self.rows, self.ledger)
        rows.check_lanes(self.rows, self.ledger)
        rows.check_counts(self.rows)
        for lane in self.ledger.lanes.values():
            lane.was_retracted = lane.was_retracted or lane.worth().is_retracted

    def teardown(self) -> None:
        """Heal everything, let the workers finish, and compare the books; not after something has failed already."""
        with self.leaving:
            if sys.exc_info()[0] is None:
                self.heal()
                self.finish()
                self.compare_books()
                self.compare_counts()
                database.check_constraints()
                SEEN.update(
                    f"ended {row.kind} {row.status} {row.skip_reason or row.error_symbol}".rstrip()
                    for row in self.rows.values()
                )

    def heal(self) -> None:
        """Take away everything that was in the way."""
        self.somebody_repairs_it()
        for account in self.ledger.accounts.values():
            for goal_id in account.goals:
                self.microsoft.control("goals", {"id": goal_id, "status": "Active"})
        for go_on in self.stopped:
            go_on()
        apply(Action.RELEASE, Delivery.objects.filter(hold_reason="by_hand"), None, timezone.now())
        self.commit()

    def finish(self) -> None:
        """Let the workers run and the time pass until nothing is waiting any more (I9)."""
        healed_at = timezone.now()
        for _ in range(MAX_WAITS):
            self.workers_do_what_is_due()
            self.everything_adds_up()
            waiting = [row for row in self.rows.values() if row.status in rows.LIVE]
            if not waiting:
                return
            is_late = timezone.now() - healed_at > timedelta(days=2)
            for_nobody = [row for row in waiting if not _waits_for_somebody(row)]
            assert not (is_late and for_nobody), f"still waiting: {for_nobody}"
            self.time.move_to(self.next_moment(waiting), tick=False)
        raise AssertionError(f"waiting for ever: {waiting}")

    def next_moment(self, waiting: list[Row]) -> datetime:
        """Return when something is due next."""
        now = timezone.now()
        moments = [row.next_attempt_at for row in waiting if row.next_attempt_at]
        if all(map(_waits_for_somebody, waiting)):
            return max(now, min(moments))
        for account in AdAccount.objects.all():
            moments += [account.held_until] if account.held_until else []
            moments += [account.next_sync_at] if any(row.hold_reason == "goal_missing" for row in waiting) else []
        moments += Upload.objects.filter(finished_at=None).values_list("leased_until", flat=True)
        return min((moment for moment in moments if moment > now), default=now + timedelta(minutes=1))

    def compare_books(self) -> None:
        """What we call delivered is in Microsoft's books, once, as it should be, and nothing else is (I6, I11, I12)."""
        booked = {_key_of_booking(booking): booking for booking in self.microsoft.bookings}
        assert len(booked) == len(self.microsoft.bookings), "two bookings under one key"
        for lane in self.ledger.lanes.values():
            row = rows.row_of(lane, self.rows)
            booking = booked.pop(self.key_of(row), None)
            assert booking is not None or row.status != "delivered", f"not in the books: {row}"
            if row.status == "failed":
                self.check_failure(row)
            if booking is not None:
                assert row.pk in self.microsoft.said, f"nobody sent it: {row}"
                self.check_booking(booking, lane, row)
        assert not booked, f"in the books, and nobody's: {booked}"
        self.check_walls()

    def check_booking(self, booking: Booking, lane: Lane, row: Row) -> None:
        """Once every correction has arrived, the books say what the ledger does, to the cent."""
        [account] = [account for account in self.accounts if account.pk == lane.account]
        assert (booking.account_id, booking.goal_id) == (account.account_id, lane.goal_id), booking
        corrections = [one for one in self.rows.values() if one.original_id == row.pk and not one.is_conversion]
        if row.status != "delivered" or any(one.status == "failed" for one in corrections):
            return
        own = self.microsoft.books.goals[lane.goal_id].revenue_value or Decimal(0)
        is_own = row.value is None and row.restated_value is None and row.retracted_at is None
        assert booking.effective_value() == (own if is_own else row.counted_value), f"{row} is {booking}"
        if lane.is_vague or any(one.skip_reason in ("too_old", "called_off") for one in corrections):
            return
        worth = lane.worth()
        assert booking.retracted == worth.is_retracted or (booking.retracted and lane.was_retracted), (
            f"{worth}: {booking}"
        )
        if not booking.retracted:
            wanted = own if worth.value is None else worth.value
            assert booking.effective_value() == wanted, f"{worth}: {booking}, {corrections}"
            assert worth.currency in ("", booking.currency), f"{worth}: {booking}"

    def check_failure(self, row: Row) -> None:
        """What failed was refused by Microsoft itself, or had no time left."""
        if row.error_symbol == "Expired":
            assert row.expires_at is not None
            assert row.expires_at <= timezone.now(), row
            return
        calls = [call for call in self.microsoft.uploads if row.pk in call.deliveries]
        is_named = any(call.deliveries.index(row.pk) in call.refused for call in calls if call.outcome == "answered")
        is_alone = any(len(call.rows) == 1 and call.outcome != "answered" for call in calls)
        assert is_named or is_alone, f"refused by nobody: {row}"

    def check_walls(self) -> None:
        """Every call carries one account's deliveries under the token of its own sign-in (I12)."""
        of_account = {account.account_id: (account.pk, shop) for shop in self.stage.shops for account in shop.accounts}
        for call in self.microsoft.uploads:
            pk, shop = of_account[call.account_id]
            assert {self.rows[row].account_id for row in call.deliveries} == {pk}, call
            assert call.token_owner in ("", shop.connection.microsoft_user_id), call

    def key_of(self, row: Row) -> tuple[str, ...]:
        [account_id] = [account.account_id for account in self.accounts if account.pk == row.account_id]
        return (account_id, row.goal_name, row.conversion_time, row.msclkid.lower(), row.email_sha256, row.phone_sha256)

    def compare_counts(self) -> None:
        kept = counted()
        rebuild(timezone.now())
        assert counted() == kept, f"{kept} is {counted()} when counted anew"


class Corrections(Conversions):
    """The same with refunds, new totals, orders that have to be confirmed, and people who do things by hand."""

    @rule(which=WHICH, value=PARTS, is_foreign=st.sampled_from([False] * 5 + [True]), age=st.sampled_from([0, 1, 3]))
    def money_is_given_back(self, which: int, value: Decimal | None, is_foreign: bool, age: int) -> None:
        fact = self.some_fact(which)
        shop = self.stage.shops.index(self.shop_of(fact)) * 2
        more = {"order": fact.order, "person": "nobody", "currency": "EUR" if is_foreign else fact.currency}
        if value is not None and not more["currency"]:
            more["currency"] = self.shop_of(fact).site.currency
        self.report(self.fact(shop, "server", ledger.REFUND, self.ago(age), value, **more))

    @rule(
        which=WHICH,
        total=PARTS,
        by_event=st.booleans(),
        is_foreign=st.sampled_from([False] * 5 + [True]),
        age=st.sampled_from([0, 1, 3]),
    )
    def an_order_is_corrected(
        self, which: int, total: Decimal | None, by_event: bool, is_foreign: bool, age: int
    ) -> None:
        fact = self.some_fact(which)
        shop = self.shop_of(fact)
        named = {"event_id": fact.event_id} if by_event or not fact.order else {"order": fact.order}
        currency = "EUR" if is_foreign else fact.currency or shop.site.currency
        number = f"adjustment-{next(self.numbers)}"
        self.adjust(
            Adjustment(
                fact.shop,
                number,
                timezone.now() - self.ago(age),
                _thousandths(total),
                currency if total is not None else "",
                **named,
            )
        )

    @rule(total=PARTS, order=st.integers(1, 60))
    def an_order_is_corrected_that_may_come_later(self, total: Decimal | None, order: int) -> None:
        shop = self.stage.shops[0]
        currency = "" if total is None else shop.site.currency
        at = timezone.now() - self.ago(0)
        self.adjust(
            Adjustment(
                shop.site.pk, f"adjustment-{next(self.numbers)}", at, _thousandths(total), currency, f"order-{order}"
            )
        )

    def adjust(self, adjustment: Adjustment) -> None:
        [answer] = self.post(self.shop_of(adjustment), "server", "adjustments", adjustment.as_json())
        SEEN[f"adjustment {answer}"] += 1
        self.ledger.judge(adjustment, answer)

    def ago(self, hours: int) -> timedelta:
        """Return how long ago something was said: never at the same moment as anything else."""
        return timedelta(hours=hours, milliseconds=next(self.numbers))

    @rule(which=WHICH, action=st.sampled_from(Action), value=VALUES)
    def somebody_does_it_by_hand(self, which: int, action: Action, value: Decimal | None) -> None:
        if not self.rows:
            return
        row = list(self.rows.values())[which % len(self.rows)]
        total = None if action is not Action.RESTATE else _thousandths(value or Decimal(5))
        tally = apply(action, Delivery.objects.filter(pk=row.pk), None, timezone.now(), total)
        SEEN[f"by hand: {action} {'done' if tally.able else 'refused'}"] += 1
        if tally.able and action.corrects:
            lane = self.ledger.lanes[row.account_id, row.dedupe_key]
            self.ledger.say_by_hand(lane, total, "" if total is None else row.currency, timezone.now())
        if tally.able and action is Action.CANCEL and row.dedupe_key.startswith("refund:"):
            self.ledger.call_off(row.event, row.account_id)
        self.commit()

    @rule(which=WHICH, confirms=st.sampled_from(["off", "wait", "require"]))
    def a_site_wants_its_backends_word(self, which: int, confirms: Any) -> None:
        site = self.shop(which).site
        self.ledger.ask_for_word(site.pk, confirms)
        Site.objects.filter(pk=site.pk).update(confirm_mode=confirms)

    def send(self, upload: Upload) -> None:
        self.check_words(upload)
        super().send(upload)

    def check_words(self, upload: Upload) -> None:
        """What a site wants its backend's word for is not sent without it."""
        wish = self.ledger.shops[upload.account.site_id]
        if wish.confirms == "require" and upload.started_at == timezone.now():
            lanes = (
                self.ledger.lanes.get((row.account_id, row.dedupe_key))
                for row in map(self.rows.get, upload.delivery_ids)
                if row
            )
            assert not any(lane and lane.awaits_word for lane in lanes), "sent without its backend's word"


def _waits_for_somebody(row: Row) -> bool:
    """Say whether it waits for a person, or for an order that perhaps never comes."""
    return row.hold_reason == "operator" or (row.original_id is None and not row.is_conversion)


def _thousandths(value: Decimal | None) -> Decimal | None:
    return None if value is None else value.quantize(Decimal("0.001"))


@contextmanager
def rolled_back() -> Iterator[None]:
    """Do what follows in a transaction that never was."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def counted() -> set[tuple[Any, ...]]:
    named = ("account_id", "day", "event_name", "goal_name", "status", "error", "with_click", "currency")
    days = {row for row in DailyCount.objects.values_list(*named, "count", "value") if any(row[-2:])}
    accepted = AcceptedDay.objects.exclude(count=0)
    return days | set(accepted.values_list("account_id", "day", "goal_id", "event_name", "currency", "count"))


def _key_of_booking(booking: Booking) -> tuple[str, ...]:
    who = ((booking.click_id or "").lower(), booking.email_hash or "", booking.phone_hash or "")
    return (booking.account_id, booking.goal_name, booking.conversion_time_text, *who)
