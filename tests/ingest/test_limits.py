"""What may be sent: bursts of a key and an address, a site's day. Who is over a limit is refused, and nobody else."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

import time_machine
from django.db import OperationalError, connection
from django.http import HttpResponse
from django.test import Client, TestCase, override_settings
from django.test.utils import CaptureQueriesContext

from ingest import limits, storing
from ingest.door import EVENTS, Batch
from ingest.keys import Caller
from ingest.models import Bucket, Event
from ingest.parsing import Item, SiteFacts
from tests.cast import NOON
from tests.ingest.asgi import CollectorTestCase
from tests.ingest.calls import PURCHASE, CallsTestCase

TOO_MANY, CAP_REACHED = "too_many_requests", "daily_cap_reached"
# Addresses of visitors: those that are kept for examples are no public ones.
VISITOR, OTHER_VISITOR = "8.8.8.8", "9.9.9.9"


def batch(
    events: int = 1, *, site: int = 1, key: str = "", address: str = "", zone: str = "UTC", cap: int = 1_000
) -> Batch:
    """Return a batch of events of a site, as the door hands it over."""
    caller = Caller(SiteFacts(site, "USD"), key or f"site-{site}", frozenset(), zone, cap)
    items: list[Item[Any]] = [Item(f"events[{n}]", str(n), object(), ()) for n in range(events)]
    return Batch(EVENTS, caller, address, items, 0)


def refuse(batches: Sequence[Batch], now: datetime = NOON) -> list[str]:
    """Count the batches; return for each the code that refuses it, or nothing."""
    told = limits.refuse(batches, now)
    return [json.loads(answer.body)["type"].rpartition("/")[2] if answer else "" for answer in told]


def retry_after(one: Batch, now: datetime = NOON) -> int:
    """Return when a batch may come again that has to be refused the second time at the latest."""
    *_, answer = limits.refuse([one, one], now)
    assert answer is not None
    return int(answer.headers["Retry-After"])


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


@override_settings(KEY_REQUESTS_PER_SECOND=2, ADDRESS_REQUESTS_PER_SECOND=0)
class KeyTests(TestCase):
    def test_a_burst_of_ten_seconds_is_let_in_and_no_more(self) -> None:
        self.assertEqual(refuse([batch()] * 22), [""] * 20 + [TOO_MANY] * 2)

    def test_it_drains_at_its_rate(self) -> None:
        refuse([batch()] * 20)
        self.assertEqual(refuse([batch()], after(0.4)), [TOO_MANY])
        self.assertEqual(refuse([batch()] * 2, after(0.5)), ["", TOO_MANY])
        self.assertEqual(refuse([batch()] * 21, after(60)), [""] * 20 + [TOO_MANY])

    def test_what_was_refused_does_not_put_off_what_comes_later(self) -> None:
        refuse([batch()] * 500)
        self.assertEqual(refuse([batch()] * 21, after(10)), [""] * 20 + [TOO_MANY])

    def test_after_retry_after_there_is_room(self) -> None:
        for rate, seconds in ((2, 1), (0.2, 5), (0.03, 34)):
            with self.subTest(rate), override_settings(KEY_REQUESTS_PER_SECOND=rate):
                one = batch(key=f"server-{rate}")
                refuse([one] * 20)
                self.assertEqual(retry_after(one), seconds)
                self.assertEqual(refuse([one], after(seconds)), [""])

    def test_a_clock_that_is_behind_neither_gives_time_nor_takes_it(self) -> None:
        refuse([batch()] * 10)
        self.assertEqual(refuse([batch()] * 11, after(-60)), [""] * 10 + [TOO_MANY])
        self.assertEqual(refuse([batch()]), [TOO_MANY])

    def test_each_key_has_its_own(self) -> None:
        flood, page, other = batch(key="server-1"), batch(), batch(site=2)
        told = refuse([flood] * 30 + [page, other])
        self.assertEqual(told, [""] * 20 + [TOO_MANY] * 10 + ["", ""])

    @override_settings(KEY_REQUESTS_PER_SECOND=0)
    def test_zero_is_no_limit(self) -> None:
        self.assertEqual(set(refuse([batch(address=VISITOR)] * 1_000)), {""})
        self.assertEqual([row.name for row in Bucket.objects.all()], ["day:1:pages:2026-11-21"])

    def test_many_requests_are_counted_in_one_statement(self) -> None:
        batches = [batch(site=number % 7, address=VISITOR) for number in range(100)]
        refuse(batches)
        with self.assertNumQueries(1):
            refuse(batches, after(60))

    def test_new_buckets_are_written_in_the_order_of_their_names(self) -> None:
        """Two processes that begin a day with the same sites would else wait for each other in a circle."""
        with CaptureQueriesContext(connection) as captured:
            refuse([batch(site=3), batch(site=1), batch(site=2)])
        [sql] = [query["sql"] for query in captured if "INSERT" in query["sql"]]
        names = [*(f"day:{site}:pages:2026-11-21" for site in (1, 2, 3)), *(f"key:site-{site}" for site in (1, 2, 3))]
        places = [sql.index(name) for name in names]
        self.assertEqual(places, sorted(places))


@override_settings(KEY_REQUESTS_PER_SECOND=0, ADDRESS_REQUESTS_PER_SECOND=1)
class AddressTests(TestCase):
    def let_in(self, address: str, count: int = 20) -> int:
        """Count how many of a sender's requests are let in."""
        return refuse([batch(address=address)] * count).count("")

    def test_a_sender_has_a_burst_over_all_sites(self) -> None:
        batches = [batch(site=number, address=VISITOR) for number in range(11)]
        self.assertEqual(refuse(batches), [""] * 10 + [TOO_MANY])
        self.assertEqual(self.let_in(OTHER_VISITOR), 10)

    def test_of_ipv6_a_64_is_one_sender(self) -> None:
        self.assertEqual(self.let_in("2606:4700:0:1::1"), 10)
        self.assertEqual(self.let_in("2606:4700:0:1:ffff:ffff:ffff:ffff"), 0)
        self.assertEqual(self.let_in("2606:4700:0:2::1"), 10)

    def test_an_ipv4_address_is_the_same_in_ipv6(self) -> None:
        self.assertEqual(self.let_in(f"::ffff:{VISITOR}"), 10)
        self.assertEqual(self.let_in(VISITOR), 0)
        self.assertEqual(self.let_in(f"::ffff:{OTHER_VISITOR}"), 10)

    def test_neighbours_and_what_is_no_address_are_not_limited(self) -> None:
        private = "127.0.0.1", "10.0.0.7", "192.168.1.1", "100.64.0.1", "::1", "fd00::1", "fe80::1%eth0"
        for address in (*private, "::ffff:10.0.0.7", "", "unknown", f"{VISITOR}, "):
            with self.subTest(address):
                self.assertEqual(self.let_in(address), 20)
        self.assertFalse(Bucket.objects.filter(name__startswith="address:").exists())

    def test_no_address_is_stored_nor_anything_to_guess_it_by(self) -> None:
        limits._network.cache_clear()
        self.addCleanup(limits._network.cache_clear)
        self.let_in(VISITOR)
        [name] = Bucket.objects.filter(name__startswith="address:").values_list("name", flat=True)
        self.assertRegex(name, "^address:[0-9a-f]{32}$")
        limits._network.cache_clear()
        with override_settings(SECRET_KEY="another"):
            self.assertEqual(self.let_in(VISITOR), 10)

    @override_settings(KEY_REQUESTS_PER_SECOND=2)
    def test_one_senders_flood_takes_nothing_from_the_others_of_its_site(self) -> None:
        refuse([batch(address=VISITOR)] * 100)
        self.assertEqual(refuse([batch(address=OTHER_VISITOR)] * 11), [""] * 10 + [TOO_MANY])

    @override_settings(KEY_REQUESTS_PER_SECOND=2)
    def test_nor_from_those_that_are_counted_with_it(self) -> None:
        told = refuse([batch(address=VISITOR)] * 100 + [batch()] * 10)
        self.assertEqual(told, [""] * 10 + [TOO_MANY] * 90 + [""] * 10)

    @override_settings(KEY_REQUESTS_PER_SECOND=0.1)
    def test_what_its_key_refuses_is_not_counted_on_a_sender(self) -> None:
        refuse([batch(address=VISITOR)] * 100)
        self.assertEqual(refuse([batch(site=number, address=VISITOR) for number in range(2, 11)]), [""] * 9)


@override_settings(KEY_REQUESTS_PER_SECOND=0, ADDRESS_REQUESTS_PER_SECOND=0)
class DayTests(TestCase):
    def test_a_site_has_its_days_events_through_all_its_backends_keys(self) -> None:
        one, other = batch(4, cap=10, key="server-1"), batch(6, cap=10, key="server-2")
        self.assertEqual(refuse([one, other, batch(cap=10, key="server-1")]), ["", "", CAP_REACHED])
        self.assertEqual(refuse([batch(cap=10, key="server-1")], after(3600)), [CAP_REACHED])
        self.assertEqual(refuse([batch(cap=11, key="server-1"), batch(10, cap=10, site=2)]), ["", ""])

    def test_what_strangers_send_with_the_pages_key_takes_nothing_from_the_backends(self) -> None:
        told = refuse([batch(10, cap=10), batch(cap=10), batch(10, cap=10, key="server-1")])
        self.assertEqual(told, ["", CAP_REACHED, ""])

    def test_a_batch_larger_than_any_day_takes_a_whole_one(self) -> None:
        self.assertEqual(refuse([batch(11, cap=10), batch(1, cap=10)]), ["", CAP_REACHED])
        self.assertEqual(refuse([batch(1, cap=10), batch(11, cap=10)], after(24 * 3600)), ["", CAP_REACHED])

    def test_what_was_not_stored_is_given_back(self) -> None:
        batches = [batch(6, cap=10), batch(4, cap=10)]
        refuse(batches)
        limits.give_back([(batches[0], 0), (batches[1], 3)], NOON)
        self.assertEqual(refuse([batch(4, cap=10), batch(3, cap=10)]), [CAP_REACHED, ""])

    def test_a_batch_for_which_no_room_is_left_takes_none(self) -> None:
        self.assertEqual(refuse([batch(8, cap=10), batch(3, cap=10)]), ["", CAP_REACHED])
        self.assertEqual(refuse([batch(3, cap=10), batch(2, cap=10)]), [CAP_REACHED, ""])
        self.assertEqual(Bucket.objects.get().used, 10)

    def test_it_is_told_to_come_again_at_its_own_midnight(self) -> None:
        for zone, now, hours in (
            ("UTC", NOON, 12),
            ("America/New_York", NOON, 17),
            ("Asia/Kolkata", NOON, 6.5),
            ("Europe/Berlin", datetime(2026, 3, 28, 23, tzinfo=UTC), 23),  # summer time begins
            ("Europe/Berlin", datetime(2026, 10, 24, 22, tzinfo=UTC), 25),  # and ends
            ("Africa/Cairo", datetime(2026, 4, 23, 12, tzinfo=UTC), 10),  # it begins at a midnight that is none
            ("UTC", datetime(2026, 11, 21, 23, 59, 59, 999_999, tzinfo=UTC), 1 / 3600),
        ):
            with self.subTest(zone, now=now):
                self.assertEqual(retry_after(batch(zone=zone, cap=1), now), hours * 3600)

    def test_then_its_day_begins(self) -> None:
        one = batch(zone="America/New_York", cap=1)
        midnight = NOON + timedelta(hours=17)
        before = midnight - timedelta(microseconds=1)
        self.assertEqual([*refuse([one]), *refuse([one], before)], ["", CAP_REACHED])
        self.assertEqual(refuse([one, one], midnight), ["", CAP_REACHED])

    def test_a_time_zone_that_does_not_exist_is_utc(self) -> None:
        for zone in ("Mars/Olympus", "../UTC", "Europe", ""):
            with self.subTest(zone):
                self.assertEqual(retry_after(batch(zone=zone, cap=1)), 12 * 3600)

    @override_settings(KEY_REQUESTS_PER_SECOND=1)
    def test_what_a_rate_refused_is_not_counted(self) -> None:
        self.assertEqual(refuse([batch(cap=12)] * 30), [""] * 10 + [TOO_MANY] * 20)
        self.assertEqual(refuse([batch(cap=12)] * 3, after(60)), ["", "", CAP_REACHED])


class ForgettingTests(TestCase):
    def test_buckets_that_long_are_empty_are_forgotten(self) -> None:
        hour, day = timedelta(hours=1), timedelta(days=1)
        for name, age in (("key:a", hour), ("address:a", hour), ("key:b", 2 * hour), ("address:b", 2 * hour)):
            Bucket.objects.create(name=name, used=1, granted=1, at=(NOON - age).timestamp())
        for name, age in (("day:1:pages:2026-11-19", 2 * day), ("day:1:pages:2026-11-18", 2 * day + hour)):
            Bucket.objects.create(name=name, used=1, granted=1, at=(NOON - age).timestamp())
        self.assertEqual(limits.forget_idle(NOON), 3)
        left = {row.name for row in Bucket.objects.all()}
        self.assertEqual(left, {"key:a", "address:a", "day:1:pages:2026-11-19"})

    @override_settings(KEY_REQUESTS_PER_SECOND=1)
    def test_nobody_near_a_limit_is_forgotten(self) -> None:
        flood = [batch(address=VISITOR, cap=10)] * 10
        refuse(flood)
        self.assertEqual(limits.forget_idle(after(1)), 0)
        self.assertEqual(refuse(flood[:1], after(0)), [TOO_MANY])
        self.assertEqual(limits.forget_idle(after(11 * 3600)), 2)
        self.assertEqual(refuse(flood[:1], after(11 * 3600)), [CAP_REACHED])


class AtTheDoorTests(CallsTestCase):
    """Through Django's views, on a clock that stands still."""

    def setUp(self) -> None:
        self.time = self.enterContext(time_machine.travel(NOON, tick=False))

    def flood(self, count: int, **headers: str) -> list[HttpResponse]:
        """Post purchases from a page, each in a request of its own."""
        first = Event.objects.count()
        return [self.purchases(number, **headers) for number in range(first, first + count)]

    def purchases(self, *numbers: int, **headers: str) -> HttpResponse:
        """Post purchases from a page in one request."""
        events = [PURCHASE | {"event_id": f"e-{number}"} for number in numbers]
        return self.post_from_page("events", {"events": events}, **headers)

    @override_settings(KEY_REQUESTS_PER_SECOND=0.5)
    def test_a_page_is_told_when_to_come_again_and_then_is_taken(self) -> None:
        *taken, refused = self.flood(6)
        self.assertEqual({each.status_code for each in taken}, {202})
        self.assertIn("This key", self.assert_problem(refused, 429, TOO_MANY)["detail"])
        self.assertEqual((refused["Retry-After"], refused["Access-Control-Expose-Headers"]), ("2", "Retry-After"))
        self.assertEqual(Event.objects.count(), 5)
        self.time.shift(2)
        self.assertEqual(self.purchases(5).status_code, 202)

    @override_settings(KEY_REQUESTS_PER_SECOND=0.1)
    def test_a_pages_flood_is_no_backends_nor_another_sites(self) -> None:
        self.assertEqual([each.status_code for each in self.flood(2)], [202, 429])
        self.assertEqual(self.post_from_backend({"events": [PURCHASE]}).status_code, 202)
        self.site = self.charlie.memberships.get().organisation.sites.get()
        self.assertEqual(self.purchases(1).status_code, 202)

    @override_settings(KEY_REQUESTS_PER_SECOND=0.1)
    def test_a_backends_questions_are_counted_with_what_it_sends(self) -> None:
        asking = {"Authorization": f"Bearer {self.secret}"}
        self.assertEqual(self.client.get("/v1/events/e-1", headers=asking).status_code, 404)
        told = self.client.get("/v1/events/e-1", headers=asking)
        self.assert_problem(told, 429, TOO_MANY)  # type: ignore[arg-type]
        self.assertEqual(told["Retry-After"], "10")
        self.assert_problem(self.post_from_backend({"events": [PURCHASE]}), 429, TOO_MANY)

    @override_settings(ADDRESS_REQUESTS_PER_SECOND=0.1, BEHIND_PROXY=True)
    def test_behind_a_proxy_its_word_is_believed_and_nobody_elses(self) -> None:
        for said, status in (
            (VISITOR, 202),
            (VISITOR, 429),
            (f"{OTHER_VISITOR}, {VISITOR}", 429),
            (f"{VISITOR},{OTHER_VISITOR}", 202),
            ("10.0.0.7", 202),
            ("10.0.0.7", 202),
        ):
            with self.subTest(said, status=status):
                [told] = self.flood(1, **{"X-Forwarded-For": said})
                self.assertEqual(told.status_code, status)
        told = self.purchases(9, **{"X-Forwarded-For": VISITOR})
        self.assertIn("This address", self.assert_problem(told, 429, TOO_MANY)["detail"])

    @override_settings(ADDRESS_REQUESTS_PER_SECOND=0.1, BEHIND_PROXY=False)
    def test_without_a_proxy_the_connection_counts_and_no_header(self) -> None:
        told = [self.purchases(number, **{"X-Forwarded-For": VISITOR}) for number in range(3)]
        self.assertEqual({each.status_code for each in told}, {202})
        self.client = Client(REMOTE_ADDR=VISITOR)
        told = [self.purchases(number, **{"X-Forwarded-For": f"9.9.9.{number}"}) for number in range(2)]
        self.assertEqual([each.status_code for each in told], [202, 429])

    def test_a_day_that_is_full_is_told_until_its_midnight(self) -> None:
        self.site.daily_event_cap, self.site.time_zone = 3, "America/New_York"
        self.site.save()
        self.assertEqual(self.purchases(0, 1).status_code, 202)
        refused = self.purchases(2, 3)
        self.assert_problem(refused, 429, CAP_REACHED)
        self.assertEqual((refused["Retry-After"], Event.objects.count()), (str(17 * 3600), 2))
        self.assertEqual([self.purchases(2).status_code, self.purchases(2).status_code], [202, 429])
        self.time.shift(17 * 3600)
        self.assertEqual(self.purchases(2, 3).status_code, 202)

    def test_repeats_fill_no_day(self) -> None:
        self.site.daily_event_cap = 4
        self.site.save()
        self.assertEqual([self.purchases(0, 1).status_code for _ in range(3)], [202] * 3)
        self.assertEqual([self.purchases(2, 3).status_code, self.purchases(4).status_code], [202, 429])

    def test_what_the_database_did_not_take_fills_no_day(self) -> None:
        self.site.daily_event_cap = 2
        self.site.save()
        with patch.object(storing, "_insert", side_effect=OperationalError("canceling statement due to lock timeout")):
            self.assertEqual([self.purchases(0, 1).status_code for _ in range(2)], [503] * 2)
        self.assertEqual(self.purchases(0, 1).status_code, 202)

    @override_settings(KEY_REQUESTS_PER_SECOND=0.1)
    def test_what_holds_nothing_usable_is_counted_as_a_request(self) -> None:
        told = [self.post_from_page("events", {"events": [{"name": 7}]}).status_code for _ in range(2)]
        self.assertEqual(told, [422, 429])

    def test_a_full_day_is_no_other_sites(self) -> None:
        self.site.daily_event_cap = 1
        self.site.save()
        self.assertEqual([each.status_code for each in self.flood(2)], [202, 429])
        self.site = self.charlie.memberships.get().organisation.sites.get()
        self.assertEqual([each.status_code for each in self.flood(2)], [202, 202])


class AtTheCollectorTests(CollectorTestCase):
    @override_settings(ADDRESS_REQUESTS_PER_SECOND=0.1, BEHIND_PROXY=True)
    def test_it_believes_the_proxy_alone_too(self) -> None:
        with time_machine.travel(NOON, tick=False):
            said = f"{OTHER_VISITOR}, {VISITOR}", f"{VISITOR}, {OTHER_VISITOR}", f"10.0.0.7, {VISITOR}"
            told = [self.run_all(self.from_page("events", {"events": [PURCHASE]}, x_forwarded_for=h)) for h in said]
        self.assertEqual([each.status for [each] in told], [202, 202, 429])
        self.assertEqual(told[2][0].headers["Retry-After"], "10")
