"""Events: what is listed and found, what became of each, and what an open list learns."""

from datetime import UTC, datetime, time, timedelta
from typing import Any
from unittest import mock
from uuid import uuid4

from django.db import connection
from django.test import SimpleTestCase
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from dashboard.events import listing, reasons, searching
from forwarding.errors import SKIPS
from forwarding.models import OTHER_NAMES, Delivery, EventDay, Skip, Status
from ingest.click_ids import new_test_click_id
from ingest.hashing import hash_email
from ingest.models import Event, Membership, Role, Source
from integrations.models import AdAccount, GoalMapping
from tests.cast import CastTestCase, make_account, make_goal, make_user, store_event
from tests.dashboard.accounts import deliver, parked_refund, told_refund
from tests.structure.sources import read

NONSENSE = [
    "before=\0", "before=9", "before=99999999999999999-999999999999999999", "before=" + "9" * 500, "q=%00", "find",
    "q=%ED%A0%80", "q=" + "x" * 5000, "q=%F0%9F%92%A5", "q=@", "q=a@b@c.de", "name=%00", "name=~nope", "outcome=gone",
    "name=" + "n" * 500, "row=a&row=1-1.b", "row=99999999999999999-999999999999999999.1-1",
    "row=1-1.1-1&hold=1&waiting=x",
]  # fmt: skip
HOSTILE = "<script>alert(1)</script>‮=cmd()" + "x" * 90
MAX_QUERIES = 10


class EventsTestCase(CastTestCase):
    def setUp(self) -> None:
        self.client.force_login(self.alice)
        self.url = reverse("dashboard:events", args=[self.site.public_id])

    def at(self, event: Event) -> str:
        """Return the address of an event."""
        return reverse("dashboard:event", args=[self.site.public_id, event.event_id])

    def store(self, name: str = "purchase", seconds_ago: float = 60, **fields: Any) -> Event:
        """Store an event that was planned when it came."""
        at = timezone.now() - timedelta(seconds=seconds_ago)
        return store_event(self.site, name, **({"received_at": at, "occurred_at": at, "planned_at": at} | fields))

    def deliver(self, event: Event, status: str = Status.DELIVERED, **fields: Any) -> Delivery:
        """Write down what became of an event in the account."""
        return deliver(self.goal, status, event.received_at, event=event, **fields)

    def skip(self, reason: Skip, **fields: Any) -> Event:
        """Store an event that was not forwarded."""
        event = self.store(**fields)
        self.deliver(event, Status.SKIPPED, skip_reason=reason, msclkid="", transaction_id=event.transaction_id)
        return event

    def listed(self, query: str = "") -> list[Event]:
        """Return the events that the page lists, in its order."""
        response = self.client.get(f"{self.url}{query}")
        self.assertEqual(response.status_code, 200)
        return [row.event for row in response.context["listing"].rows]

    def lines(self, event: Event) -> list[tuple[str, str, str]]:
        """Return what the list says of an event: account, status and why."""
        rows = self.client.get(self.url).context["listing"].rows
        (row,) = (row for row in rows if row.event == event)
        return [(line.account, line.status, line.why) for line in row.lines]


class TestList(EventsTestCase):
    def test_no_reason_is_cut(self) -> None:
        self.deliver(self.store(), Status.FAILED, error_code=5604)
        self.assertContains(self.client.get(self.url), '<span class="why">Click ID is not valid (5604)</span>')

    def test_of_names_without_end_the_mapped_and_the_first_are_offered(self) -> None:
        today = timezone.now().date()
        for name in ("purchase", OTHER_NAMES, "a", "b", "c"):
            EventDay.objects.create(site=self.site, day=today, name=name, count=1)
        with mock.patch.object(listing, "MAX_NAMES", 3):
            names = listing.names_of(self.site, timezone.now())
        self.assertEqual((names.mapped, names.others), ({"purchase"}, ["a", "b"]))

    def test_the_newest_comes_first(self) -> None:
        old, new = self.store(seconds_ago=9), self.store(seconds_ago=5)
        self.assertEqual(self.listed(), [new, old])

    def test_a_row_says_what_came_from_where_and_what_became_of_it(self) -> None:
        self.deliver(self.store(transaction_id="HP-48211", source=Source.SERVER))
        page = self.client.get(self.url)
        for words in ("purchase", "Server API", "HP-48211", "f894f6…8f8e3", "Search – US", "Delivered"):
            self.assertContains(page, words)

    def test_each_account_has_its_line_unless_all_say_the_same(self) -> None:
        other = make_goal(make_account(self.site, "138204422", name="Shopping – US"), "Purchase")
        event, alike = self.store(), self.store("signup", seconds_ago=90)
        self.deliver(event)
        deliver(other, Status.SKIPPED, event=event, skip_reason=Skip.NOT_MAPPED)
        for goal in (self.goal, other):
            deliver(goal, Status.SKIPPED, event=alike, skip_reason=Skip.NO_CONSENT)
        self.assertEqual(
            [line[:2] for line in self.lines(event)], [("Search – US", "delivered"), ("Shopping – US", "skipped")]
        )
        self.assertEqual(self.lines(alike), [("All accounts", "skipped", "Ad consent refused")])

    def test_an_event_that_is_not_planned_yet_says_so(self) -> None:
        event = self.store(planned_at=None)
        self.assertEqual(self.lines(event), [("All accounts", "pending", "Just received")])

    def test_an_account_that_was_connected_later_says_so(self) -> None:
        self.assertEqual(self.lines(self.store()), [("Search – US", "skipped", "Account was not connected")])

    def test_a_site_without_an_account_says_so(self) -> None:
        AdAccount.objects.update(is_active=False)
        self.assertEqual(self.lines(self.store()), [("All accounts", "skipped", "No account connected")])

    def test_what_a_removed_account_was_sent_stays_readable(self) -> None:
        event = self.store()
        self.deliver(event)
        AdAccount.objects.update(is_active=False)
        self.assertEqual(self.lines(event)[0][:2], ("Search – US (removed)", "delivered"))

    def test_nothing_yet_waits_for_the_first_event_with_the_snippet(self) -> None:
        page = self.client.get(self.url)
        self.assertContains(page, "Waiting for the first event")
        self.assertContains(page, self.site.write_key)

    def test_another_sites_events_are_not_listed(self) -> None:
        theirs = self.charlie.memberships.get().organisation.sites.get()
        event = store_event(theirs, transaction_id="THEIRS")
        self.assertEqual(self.listed(), [])
        self.assertEqual(self.listed("?q=THEIRS"), [])
        self.assertEqual(self.client.get(self.at(event)).status_code, 404)

    def test_hostile_fields_stay_text(self) -> None:
        event = self.store(
            transaction_id=HOSTILE, external_id=HOSTILE, msclkid=HOSTILE, visitor_id=HOSTILE, event_id=HOSTILE,
            properties={HOSTILE: HOSTILE * 100},
        )  # fmt: skip
        self.deliver(event, transaction_id=HOSTILE)
        for url in (self.url, self.at(event), f"{self.url}?q={HOSTILE[:60]}"):
            page = self.client.get(url)
            self.assertEqual(page.status_code, 200)
            self.assertNotContains(page, "<script>alert")

    def test_nonsense_in_the_address_is_never_an_error(self) -> None:
        self.deliver(self.store())
        news = reverse("dashboard:events-news", args=[self.site.public_id])
        for query in NONSENSE:
            for url in (self.url, news):
                with self.subTest(query=query[:40], url=url):
                    self.assertIn(self.client.get(f"{url}?{query}").status_code, (200, 204, 302))

    def test_a_filter_that_makes_no_sense_is_named(self) -> None:
        event = self.store()
        self.assertEqual(self.listed("?outcome=gone"), [event])
        self.assertContains(self.client.get(f"{self.url}?outcome=gone"), "Not understood: outcome")

    def test_htmx_gets_the_list_alone_and_its_clean_address(self) -> None:
        self.store()
        answer = self.client.get(f"{self.url}?q=&name=purchase", headers={"HX-Request": "true"})
        self.assertNotContains(answer, "<html")
        self.assertEqual(answer.headers["HX-Push-Url"], f"{self.url}?name=purchase")


class TestFilters(EventsTestCase):
    def test_by_name(self) -> None:
        lead = self.store("lead")
        self.store()
        self.assertEqual(self.listed("?name=lead"), [lead])

    def test_conversions_are_what_is_mapped_or_has_a_value_or_an_order(self) -> None:
        GoalMapping.objects.create(account=self.account, event_name="quote", goal=self.goal)
        bare = {"value": None, "transaction_id": ""}
        kept = [self.store("quote", 1, **bare), self.store("gift", 2), self.store("lead", 3, **bare)]
        self.store("page_view", 4, **bare)
        self.assertEqual(self.listed("?name=~conversions"), kept)

    def test_by_outcome(self) -> None:
        sent, waits, failed, skipped = (self.store(seconds_ago=number) for number in range(1, 5))
        self.deliver(sent)
        self.deliver(waits, Status.PENDING)
        self.deliver(failed, Status.FAILED, error_code=5604)
        self.deliver(skipped, Status.SKIPPED, skip_reason=Skip.NO_CONSENT)
        self.assertEqual(self.listed("?outcome=forwarded"), [sent, waits])
        self.assertEqual(self.listed("?outcome=failed"), [failed])
        self.assertEqual(self.listed("?outcome=not-forwarded"), [skipped])

    def test_by_currency_and_days_of_utc_which_stay_on_the_way_and_go_one_by_one(self) -> None:
        midnight = datetime.combine(timezone.now().date(), time(), UTC)
        rows = [
            self.store(received_at=midnight + timedelta(seconds=seconds), currency=currency)
            for seconds, currency in ((-86401, "EUR"), (-86400, "EUR"), (-1, "EUR"), (-1, "USD"), (0, "EUR"))
        ]
        day = midnight.date() - timedelta(days=1)
        query = f"currency=EUR&utc_since={day}&utc_until={day}"
        self.assertEqual(self.listed(f"?{query}"), [rows[2], rows[1]])
        page = self.client.get(f"{self.url}?{query}")
        self.assertContains(page, '<input type="hidden" name="currency" value="EUR">')
        self.assertContains(page, f"?{query}".replace("&", "&amp;"))
        self.assertContains(
            page, f'href="?utc_since={day}&amp;utc_until={day}" aria-label="Remove filter Currency: EUR"'
        )
        with mock.patch.object(listing, "WINDOW", 2):
            self.assertEqual(self.listed(f"?{query}"), [rows[2]])

    def test_a_filter_without_an_index_stops_and_says_how_far_it_came(self) -> None:
        rare = self.store("lead", 100)
        for number in range(1, 6):
            self.store(seconds_ago=number)
        with mock.patch.object(listing, "WINDOW", 3):
            page = self.client.get(f"{self.url}?name=lead")
            self.assertContains(page, "None among the 3 events looked through")
            further = page.context["further_href"]
            self.assertIn("name=lead", further)
            self.assertEqual(self.listed(further), [rare])

    def test_a_filter_that_saw_everything_says_nothing_of_it(self) -> None:
        self.store()
        page = self.client.get(f"{self.url}?name=lead")
        self.assertNotContains(page, "looked through")
        self.assertContains(page, "No event matches")

    def test_filters_in_force_can_be_taken_away_one_by_one(self) -> None:
        page = self.client.get(f"{self.url}?name=lead&outcome=failed")
        self.assertContains(page, "Remove filter Event: lead")
        self.assertContains(page, 'href="?outcome=failed"')


class TestSearch(EventsTestCase):
    def test_no_road_to_an_id_that_very_many_share_is_walked_to_its_end(self) -> None:
        asked = str(searching.found(self.site, "undefined", has_accounts=True).query)
        self.assertEqual(asked.count(f"LIMIT {searching.MAX_FOUND}"), 5)  # four roads, and what they lead to

    def test_every_id_leads_to_its_event(self) -> None:
        event = self.store(transaction_id="HP-1", external_id="LEAD-1", email_sha256=hash_email("maya@example.com"))
        self.deliver(event)
        self.store(msclkid="0" * 32)
        for text in (
            "HP-1",
            "LEAD-1",
            event.event_id,
            event.msclkid,
            event.msclkid.upper(),
            hash_email("maya@example.com"),
        ):
            with self.subTest(text=text):
                self.assertEqual(self.listed(f"?q={text}"), [event])

    def test_without_an_account_a_click_is_looked_for_among_the_newest(self) -> None:
        AdAccount.objects.update(is_active=False)
        event = self.store()
        self.assertEqual(self.listed(f"?q={event.msclkid}"), [event])

    def test_a_click_that_was_found_later_leads_to_its_events_too(self) -> None:
        event = self.store(msclkid="")
        self.deliver(event, msclkid="a" * 32, click_source="visitor")
        self.assertEqual(self.listed(f"?q={'A' * 32}"), [event])

    def test_an_address_is_hashed_before_anything_shows_or_keeps_it(self) -> None:
        event = self.store(email_sha256=hash_email("maya@example.com"))
        answer = self.client.get(f"{self.url}?q=Maya%2Bshop@Example.com")
        self.assertRedirects(answer, f"{self.url}?q={hash_email('maya@example.com')}")
        page = self.client.get(answer.headers["Location"])
        self.assertEqual([row.event for row in page.context["listing"].rows], [event])
        by_htmx = self.client.get(f"{self.url}?q=maya@example.com", headers={"HX-Request": "true"})
        for shown in (page.content.decode(), by_htmx.content.decode(), by_htmx.headers["HX-Push-Url"]):
            self.assertNotIn("maya", shown.lower().replace("maya okafor", ""))

    def test_the_one_match_is_open(self) -> None:
        event = self.store(transaction_id="HP-1")
        page = self.client.get(f"{self.url}?q=HP-1")
        self.assertEqual(page.context["event"], event)
        self.assertContains(page, 'id="inspect-h"')

    def test_several_matches_are_a_list(self) -> None:
        both = [self.store(transaction_id="HP-1", seconds_ago=number) for number in (1, 2)]
        page = self.client.get(f"{self.url}?q=HP-1")
        self.assertEqual([row.event for row in page.context["listing"].rows], both)
        self.assertNotIn("stories", page.context)

    def test_no_match_repeats_what_was_looked_for(self) -> None:
        self.store(transaction_id="HP-48211")
        page = self.client.get(f"{self.url}?q=HP-482")
        self.assertContains(page, "“HP-482”")
        self.assertContains(page, "compared whole")

    def test_every_page_of_the_site_has_the_search(self) -> None:
        page = self.client.get(reverse("dashboard:integrations", args=[self.site.public_id]))
        self.assertContains(page, f'role="search" aria-label="This site" method="get" action="{self.url}"')
        self.assertNotContains(self.client.get(reverse("dashboard:sites")), 'aria-label="This site"')


class TestPaging(EventsTestCase):
    def test_rows_of_one_moment_are_each_shown_once(self) -> None:
        at = timezone.now()
        rows = [self.store(received_at=at) for _ in range(7)][::-1]
        seen, query = [], ""
        with mock.patch.object(listing, "PAGE_ROWS", 2):
            for _ in range(4):
                page = self.client.get(f"{self.url}{query}")
                seen += [row.event for row in page.context["listing"].rows]
                query = page.context["older_href"]
        self.assertEqual(seen, rows)
        self.assertEqual(query, "")

    def test_filters_stay_on_the_way(self) -> None:
        with mock.patch.object(listing, "PAGE_ROWS", 1):
            first, second = self.store(seconds_ago=1), self.store(seconds_ago=2)
            page = self.client.get(f"{self.url}?name=purchase")
            self.assertEqual([row.event for row in page.context["listing"].rows], [first])
            self.assertEqual(self.listed(page.context["older_href"]), [second])

    def test_the_end_is_said(self) -> None:
        self.store()
        self.assertContains(self.client.get(f"{self.url}?before=1-1"), "No older events")


class TestNews(EventsTestCase):
    def ask(self, *rows: Event, query: str = "") -> tuple[int, str]:
        shown = {row.event.pk: row.version for row in self.client.get(self.url).context["listing"].rows}
        return self.ask_with([shown[row.pk] for row in rows], query)

    def ask_with(self, versions: list[str], query: str = "") -> tuple[int, str]:
        asked = "&".join(f"row={version}" for version in versions)
        news = reverse("dashboard:events-news", args=[self.site.public_id])
        answer = self.client.get(f"{news}?{asked}{query}", headers={"HX-Request": "true"})
        self.retarget = answer.headers.get("HX-Retarget")
        return answer.status_code, answer.content.decode()

    def versions(self) -> list[str]:
        return [row.version for row in self.client.get(self.url).context["listing"].rows]

    def test_nothing_new_is_no_content(self) -> None:
        event = self.store()
        self.deliver(event)
        self.assertEqual(self.ask(event)[0], 204)

    def test_a_new_event_comes_on_top(self) -> None:
        shown = self.store()
        versions = self.versions()
        new = self.store(seconds_ago=1)
        status, body = self.ask_with(versions)
        self.assertEqual(status, 200)
        self.assertIn(f'id="event-{new.pk}"', body)
        self.assertNotIn(f'id="event-{shown.pk}"', body)

    def test_one_that_was_committed_after_a_later_one_is_not_missed(self) -> None:
        self.store(seconds_ago=60)
        self.store(seconds_ago=10)
        versions = self.versions()
        late = self.store(seconds_ago=12)
        self.assertIn(f'id="event-{late.pk}"', self.ask_with(versions)[1])

    def test_what_lies_below_the_page_is_not_new(self) -> None:
        event = self.store(seconds_ago=10)
        versions = self.versions()
        self.store(seconds_ago=12)
        self.assertEqual(self.ask_with(versions)[0], 204, event)

    def test_a_row_whose_outcome_changed_is_swapped_where_it_stands(self) -> None:
        event = self.store(planned_at=None)
        versions = self.versions()
        Event.objects.update(planned_at=timezone.now())
        self.deliver(event)
        body = self.ask_with(versions)[1]
        self.assertIn(f'id="event-{event.pk}" hx-swap-oob="true"', body)
        self.assertIn("Delivered", body)

    def test_while_somebody_reads_new_ones_are_only_counted_and_once(self) -> None:
        self.store()
        versions = self.versions()
        self.store(seconds_ago=1)
        status, body = self.ask_with(versions, "&hold=1")
        self.assertEqual((status, self.retarget), (200, "#events-waiting"))
        self.assertIn("Show 1 new event<", body)
        self.assertEqual(self.ask_with(versions, "&hold=1&waiting=1")[0], 204)

    def test_a_rare_name_is_looked_for_among_the_newest_events_only(self) -> None:
        self.store("lead", seconds_ago=90)
        versions = self.versions()
        beyond, newest = self.store("lead", seconds_ago=60), [self.store(seconds_ago=ago) for ago in (30, 20)]
        with mock.patch.object(listing, "WINDOW", len(newest)):
            self.assertEqual(self.ask_with(versions, "&name=lead")[0], 204)
        self.assertIn(f'id="event-{beyond.pk}"', self.ask_with(versions, "&name=lead")[1])

    def test_filters_hold_for_what_is_new(self) -> None:
        self.store("lead")
        versions = self.versions()
        self.store(seconds_ago=1)
        self.assertEqual(self.ask_with(versions, "&name=lead")[0], 204)

    def test_another_sites_rows_are_nobodys_business(self) -> None:
        theirs = store_event(self.charlie.memberships.get().organisation.sites.get())
        self.store()
        version = f"{listing.cursor_of(theirs)}.1-1"
        self.assertNotIn(f"event-{theirs.pk}", self.ask_with([version])[1])


class TestOneEvent(EventsTestCase):
    def checks(self, event: Event) -> list[Any]:
        (story,) = self.client.get(self.at(event)).context["stories"]
        return list(story.checks)

    def test_a_delivered_one_passes_every_check(self) -> None:
        event = self.store()
        self.deliver(event)
        self.assertEqual({check.look for check in self.checks(event)}, {"ok"})

    def test_the_list_ends_at_the_first_no_with_its_fix(self) -> None:
        for reason in (each for each in Skip if each in SKIPS):
            with self.subTest(reason=reason):
                checks = self.checks(self.skip(reason))
                self.assertEqual([check.look for check in checks[:-1]], ["ok"] * (len(checks) - 1))
                self.assertEqual(checks[-1].look, "no")
                self.assertIn(SKIPS[reason].title, checks[-1].why)

    def test_a_name_that_is_no_conversion_is_told_from_one_without_a_goal(self) -> None:
        bare = {"value": None, "msclkid": ""}
        self.assertIn(
            "Not a conversion event", self.checks(self.skip(Skip.NOT_MAPPED, name="page_view", **bare))[-1].why
        )
        self.assertIn("No goal mapped", self.checks(self.skip(Skip.NOT_MAPPED, name="lead", **bare))[-1].why)
        mapping = reverse("dashboard:account-mapping", args=[self.site.public_id, self.account.account_id])
        self.assertEqual(self.checks(Event.objects.get(name="lead"))[-1].href, mapping)

    def test_a_test_click_and_a_click_that_is_none_are_told_apart(self) -> None:
        test = self.skip(Skip.NO_IDENTIFIER, msclkid=new_test_click_id(timezone.now()))
        self.assertIn("Test click", self.checks(test)[-1].why)
        none = self.skip(Skip.NO_IDENTIFIER, msclkid="undefined")
        self.assertIn("“undefined”, is no click ID", self.checks(none)[-1].why)

    def test_an_order_sent_twice_leads_to_the_event_that_counts(self) -> None:
        counts = self.store()
        first = self.deliver(counts)
        second = self.store()
        self.deliver(second, Status.SKIPPED, skip_reason=Skip.SAME_ORDER, original=first)
        self.assertEqual(self.checks(second)[-1].href, self.at(counts))

    def test_a_refused_one_says_why_and_where_to_mend_it(self) -> None:
        event = self.store()
        failed = self.deliver(event, Status.FAILED, error_code=5606)
        last = self.checks(event)[-1]
        self.assertEqual(last.look, "bad")
        self.assertIn("(5606)", last.why)
        self.assertIn("/mapping/", last.href)
        log = reverse(
            "dashboard:account-delivery", args=[self.site.public_id, self.account.account_id, failed.public_id]
        )
        self.assertContains(self.client.get(self.at(event)), log)
        self.assertContains(self.client.get(log), self.at(event))

    def test_what_was_received_is_shown_with_people_shortened(self) -> None:
        sha256 = hash_email("maya@example.com")
        event = self.store(email_sha256=sha256, properties={"plan": "pro"})
        self.deliver(event, email_sha256=sha256)
        page = self.client.get(self.at(event))
        self.assertContains(page, "&quot;plan&quot;")
        self.assertContains(page, f"{sha256[:4]}…{sha256[-4:]}")
        self.assertNotContains(page, sha256)

    def test_sent_and_response_open_without_scripts(self) -> None:
        event = self.store()
        self.deliver(event)
        page = self.client.get(f"{self.at(event)}?data=sent")
        self.assertContains(page, "OfflineConversions/Apply")
        self.assertContains(page, 'id="data-sent" aria-labelledby="data-tab-sent">')
        self.assertContains(page, 'id="data-received" aria-labelledby="data-tab-received" hidden>')

    def test_any_event_id_has_an_address(self) -> None:
        for event_id in ("a:b+c=d~e.f", "news", "a/b", "ü %?#&"):
            with self.subTest(event_id=event_id):
                event = self.store(event_id=event_id)
                self.assertEqual(self.client.get(self.at(event)).context["event"], event)

    def test_an_unknown_one_is_not_found(self) -> None:
        for event_id in (str(uuid4()), "%00", "x" * 5000):
            path = f"{self.url}{event_id}/"
            with self.subTest(path=path[-40:]):
                self.assertEqual(self.client.get(path).status_code, 404)

    def test_htmx_gets_the_panel_alone(self) -> None:
        answer = self.client.get(self.at(self.store()), headers={"HX-Request": "true"})
        self.assertNotContains(answer, "<html")
        self.assertContains(answer, 'id="inspect-h"')


class TestDoors(EventsTestCase):
    def test_who_may_not_open_the_page_of_a_fix_is_told_who_may(self) -> None:
        early = self.store()
        keyless = self.store()
        self.deliver(keyless, Status.SKIPPED, skip_reason=Skip.UNCONFIRMED)
        imports, keys = (reverse(f"dashboard:{name}", args=[self.site.public_id]) for name in ("imports", "keys"))
        for event, href, roles in (
            (early, imports, "Owner, Admin or Marketer"),
            (keyless, keys, "Owner, Admin or Developer"),
        ):
            self.client.force_login(self.alice)
            self.assertEqual(self.client.get(self.at(event)).context["stories"][0].checks[-1].href, href)
            Membership.objects.filter(user=self.bob).update(role=Role.VIEWER)
            self.client.force_login(self.bob)
            page = self.client.get(self.at(event))
            self.assertEqual(page.context["stories"][0].checks[-1].href, "")
            self.assertContains(page, f"needs the {roles} role")

    def test_every_role_looks_and_a_stranger_finds_nothing(self) -> None:
        event = self.store()
        news = reverse("dashboard:events-news", args=[self.site.public_id])
        for role in Role:
            Membership.objects.filter(user=self.bob).update(role=role)
            self.client.force_login(self.bob)
            for url in (self.url, self.at(event), news):
                self.assertEqual(self.client.get(url).status_code, 200, url)
        for user in (self.charlie, make_user("dora")):
            self.client.force_login(user)
            for url in (self.url, self.at(event), news):
                self.assertEqual(self.client.get(url).status_code, 404, url)


class TestQueries(EventsTestCase):
    def queries(self, url: str) -> int:
        with CaptureQueriesContext(
            connection,
        ) as seen:
            self.assertEqual(self.client.get(url).status_code, 200)
        return len(seen)

    def test_they_are_few_and_do_not_grow_with_events_and_accounts(self) -> None:
        def fill(name: str, accounts: int, events: int) -> None:
            goals = [make_goal(make_account(self.site, f"{name}{number}"), "Purchase") for number in range(accounts)]
            for number in range(events):
                event = self.store(transaction_id=f"{name}-{number}", seconds_ago=number)
                for goal in goals:
                    deliver(goal, Status.FAILED, event=event, error_code=5606)

        fill("1", 1, 1)
        urls = [self.url, f"{self.url}?name=purchase", f"{self.url}?outcome=failed", f"{self.url}?q=1-0"]
        before = [self.queries(url) for url in urls]
        fill("2", 3, 9)
        self.assertEqual([self.queries(url) for url in urls], before)
        self.assertLessEqual(max(before), MAX_QUERIES)
        self.assertLessEqual(self.queries(self.at(Event.objects.latest("pk"))), MAX_QUERIES)


class TestReasons(SimpleTestCase):
    def test_every_reason_has_words_and_says_what_to_do_or_that_nothing_has_to_be(self) -> None:
        self.assertEqual(set(reasons._FIXES), set(Skip))
        self.assertEqual(set(SKIPS), set(Skip))

    def test_every_reason_is_in_the_manual(self) -> None:
        manual = read("docs/events.md")
        self.assertEqual([words.title for words in SKIPS.values() if words.title not in manual], [])


class TestRefund(EventsTestCase):
    def test_once_told_its_page_shows_what_was_sent_and_answered(self) -> None:
        refund = told_refund(self.deliver(self.store()))
        page = self.client.get(self.at(refund.event))
        for words in ("Its order’s conversion", "OfflineConversionAdjustments/Apply", "no entry for this correction"):
            self.assertContains(page, words)
        for denial in ("Nothing was made of this event", "Microsoft was not asked about this event"):
            self.assertNotContains(page, denial)

    def test_without_its_order_it_says_until_when_one_may_come(self) -> None:
        page = self.client.get(self.at(parked_refund(self.account).event))
        self.assertContains(page, "No order NOSUCH has come yet; dropped after")
        self.assertNotContains(page, "It goes out at")

    def test_before_its_conversion_is_delivered_it_names_no_moment(self) -> None:
        conversion = self.deliver(self.store(), Status.PENDING)
        page = self.client.get(self.at(parked_refund(self.account, original=conversion).event))
        self.assertContains(page, "It goes out when its conversion has been delivered.")
        self.assertNotContains(page, "It goes out at")

    def test_of_two_goals_the_one_that_was_told_is_shown(self) -> None:
        told = told_refund(self.deliver(self.store()))
        told.pk, told.public_id, told.dedupe_key = None, uuid4(), "refund-of:1:x"
        told.status, told.skip_reason = Status.SKIPPED, Skip.NOT_FORWARDED
        told.save(force_insert=True)
        self.assertNotContains(self.client.get(self.at(told.event)), "Its order was not forwarded")
