"""The control prefix: pages for people, JSON for tests, clicks, settings, sink mode."""

import hashlib
from typing import Any
from urllib.parse import parse_qs, urlsplit

import requests

from integrations.microsoft_ads.emulator.control import with_click_id
from integrations.microsoft_ads.emulator.world import SEARCH_US, SHOPPING_US
from tests.support.emulator import CLICK_ID, HOST, NOON, EmulatorTestCase, adjustment, conversion

CONTROL = f"{HOST}/_emulator/"


class PageTests(EmulatorTestCase):
    def page(self, name: str, status: int = 200) -> str:
        r = self.session.get(CONTROL + name)
        self.assertEqual(r.status_code, status, r.text)
        return r.text

    def test_the_index_shows_users_accounts_and_faults(self) -> None:
        for part in ("maya@brightpath.example", "9007199254740993", "close_after", "emulator-client"):
            self.assertIn(part, self.page(""))

    def test_an_empty_ledger_says_so(self) -> None:
        self.assertIn("Nothing has been booked yet", self.page("ledger"))

    def test_the_ledger_shows_what_was_booked_and_why_not(self) -> None:
        self.apply(conversion(), conversion(ConversionName="Trade Lead"))
        self.plan("503")
        page = self.page("ledger")
        tracking_id = self.books.calls[-1].tracking_id
        for part in (CLICK_ID, "49.90 USD", "5606 OfflineConversionNameInvalid", tracking_id, "Faults waiting"):
            self.assertIn(part, page)
        self.assertIn('http-equiv="refresh"', page)

    def test_the_ledger_shows_retractions(self) -> None:
        self.control("settings", {"adjustment_settle_seconds": 0})
        self.apply(conversion())
        self.adjust(adjustment(AdjustmentType="Retract", AdjustmentValue=None))
        self.assertIn("retracted", self.page("ledger"))

    def test_the_ledger_can_be_of_one_account(self) -> None:
        self.apply(conversion())
        self.assertIn(CLICK_ID, self.page(f"ledger?account_id={SEARCH_US}"))
        self.assertNotIn(CLICK_ID, self.page(f"ledger?account_id={SHOPPING_US}"))
        self.assertIn("no account has this id", self.page("ledger?account_id=1", 400))

    def test_pages_escape_what_came_in(self) -> None:
        self.control("goals", {"id": "90010001", "name": "<script>alert(1)</script>"})
        self.apply(conversion(ConversionName="<script>alert(1)</script>"))
        self.headers["CustomerAccountId"] = "<b>1</b>"
        self.apply(conversion())
        page = self.page("ledger") + self.page("search?q=<script>alert(1)</script>")
        self.assertNotIn("<script>", page)
        self.assertNotIn("<b>1</b>", page)

    def test_half_a_character_breaks_no_page(self) -> None:
        self.control("goals", {"id": "90010001", "name": "Half \ud800"})
        self.assert_taken(self.apply(conversion(ConversionName="Half \ud800")))
        self.assertIn("Half ?", self.page("ledger"))

    def test_the_ledger_tells_what_was_set_aside_silently(self) -> None:
        self.apply(conversion(), conversion())
        self.assertIn("1 × DuplicateConversionKey (set aside silently)", self.page("ledger"))

    def test_the_root_leads_to_the_index(self) -> None:
        self.assertIn("Microsoft Advertising emulator", self.session.get(f"{HOST}/").text)

    def test_what_is_not_there_is_404_and_a_wrong_method_405(self) -> None:
        self.assertEqual(self.session.get(f"{CONTROL}nothing").status_code, 404)
        self.assertEqual(self.session.get(f"{CONTROL}revoke").status_code, 405)


class ClickTests(EmulatorTestCase):
    def follow(self, query: str = "") -> str:
        r = self.session.get(f"{CONTROL}click{query}", allow_redirects=False)
        self.assertEqual(r.status_code, 302)
        return parse_qs(urlsplit(r.headers["Location"]).query)["msclkid"][0]

    def test_the_search_page_leads_to_the_shop_by_an_ad(self) -> None:
        page = self.session.get(f"{CONTROL}search?q=oak+bench").text
        self.assertIn(f"/_emulator/click?account_id={SEARCH_US}", page)
        self.assertIn('value="oak bench"', page)

    def test_following_an_ad_mints_a_click(self) -> None:
        first, second = self.follow(), self.follow(f"?account_id={SHOPPING_US}")
        self.assertRegex(first, r"^[0-9a-f]{32}$")
        self.assertNotEqual(first, second)
        self.assertEqual((self.books.clicks[first].account_id, self.books.clicks[first].clicked_at), (SEARCH_US, NOON))
        self.assertEqual(self.books.clicks[second].account_id, SHOPPING_US)

    def test_a_conversion_of_that_click_is_attributed(self) -> None:
        self.apply(conversion(MicrosoftClickId=self.follow(), ConversionTime="2026-11-21T12:00:00Z"))
        self.assertIsNone(self.ledger()["booked"][0]["unattributed"])

    def test_the_landing_url_is_configured(self) -> None:
        self.control("settings", {"landing_url": "http://127.0.0.1:8000/demo/?utm=1#top"})
        r = self.session.get(f"{CONTROL}click", allow_redirects=False)
        self.assertRegex(r.headers["Location"], r"^http://127\.0\.0\.1:8000/demo/\?utm=1&msclkid=[0-9a-f]{32}#top$")

    def test_the_id_stands_before_the_fragment(self) -> None:
        self.assertEqual(with_click_id("http://shop.example/#a", "x"), "http://shop.example/?msclkid=x#a")

    def test_an_ad_of_an_unknown_account_is_refused(self) -> None:
        self.assertEqual(self.session.get(f"{CONTROL}click?account_id=1").status_code, 400)


class LedgerTests(EmulatorTestCase):
    def test_it_keeps_the_row_as_it_came_with_the_bodys_hash(self) -> None:
        r = self.apply(conversion())
        row = self.ledger()["received"][0]
        assert isinstance(r.request.body, bytes)
        self.assertEqual(row["row"], conversion())
        self.assertEqual(row["body_sha256"], hashlib.sha256(r.request.body).hexdigest())
        self.assertEqual(row["tracking_id"], r.headers["TrackingId"])

    def test_it_shows_one_account_when_asked(self) -> None:
        self.apply(conversion())
        other = self.session.get(f"{CONTROL}ledger.json?account_id={SHOPPING_US}").json()
        self.assertEqual((other["booked"], other["received"]), ([], []))

    def test_calls_tell_who_what_and_how_it_ended(self) -> None:
        self.apply(conversion(), None)
        call = self.session.get(f"{CONTROL}calls.json").json()["calls"][-1]
        self.assertEqual((call["operation"], call["rows"], call["refused"]), ("OfflineConversions/Apply", 2, 1))
        self.assertEqual((call["user_id"], call["account_id"], call["status"]), ("50017001", SEARCH_US, 200))

    def test_a_long_one_is_read_by_pages(self) -> None:
        self.apply(conversion(), conversion(MicrosoftClickId="a" * 32), None)
        first = self.page("of=received&limit=2")
        self.assertEqual([row["outcome"] for row in first["rows"]], ["booked", "booked"])
        rest = self.page(f"of=received&after={first['next']}")
        self.assertEqual([row["index"] for row in rest["rows"]], [2])
        self.assertEqual(self.page(f"of=received&after={rest['next']}"), {"rows": [], "next": None})
        self.assertEqual([len(self.page(f"of={of}")["rows"]) for of in ("booked", "calls")], [2, 2])

    def test_a_page_of_nothing_known_is_refused(self) -> None:
        for query in ("", "of=gossip", "of=booked&after=-1", "of=booked&limit=many"):
            self.page(query, 400)

    def page(self, query: str, status: int = 200) -> dict[str, Any]:
        r = self.session.get(f"{CONTROL}page.json?{query}")
        self.assertEqual(r.status_code, status, r.text)
        answer: dict[str, Any] = r.json()
        return answer


class ChangeTests(EmulatorTestCase):
    def test_a_goal_can_be_added_with_its_age(self) -> None:
        self.control("goals", {"account_id": SEARCH_US, "name": "Late Sale", "age_seconds": 7200}, 201)
        self.assert_taken(self.apply(conversion(ConversionName="Late Sale")))

    def test_a_goal_can_be_paused(self) -> None:
        self.control("goals", {"id": "90010001", "status": "Paused"})
        self.assert_taken(self.apply(conversion()))
        self.assertEqual(self.outcomes(), ["GoalNotFoundOrInactive"])

    def test_settle_times_can_be_shortened(self) -> None:
        self.control("settings", {"goal_settle_seconds": 60, "adjustment_settle_seconds": 0})
        self.assert_taken(self.apply(conversion(ConversionName="Phone Sale")))
        self.assert_taken(self.adjust(adjustment(ConversionName="Phone Sale")))
        self.assertEqual(self.outcomes(), ["booked", "applied"])

    def test_an_upload_can_take_its_time(self) -> None:
        self.control("settings", {"upload_milliseconds": 9_998})
        self.assert_taken(self.apply(conversion()))
        self.control("settings", {"upload_milliseconds": 10_000})
        with self.assertRaises(requests.ReadTimeout):  # half of it is as long as anybody waits here
            self.apply(conversion(MicrosoftClickId="a" * 32))
        self.assertEqual(len(self.books.bookings), 1)

    def test_settings_can_be_read_back(self) -> None:
        changed = self.control("settings", {"access_token_seconds": 30, "strict_rotation": True})
        self.assertEqual(self.session.get(f"{CONTROL}settings").json(), changed)
        self.assertEqual((changed["access_token_seconds"], changed["strict_rotation"]), (30, True))

    def test_nonsense_is_refused_by_name(self) -> None:
        wrong: list[tuple[str, dict[str, object]]] = [
            ("settings", {"goal_settle_seconds": -1}),
            ("settings", {"goal_settle_seconds": "1"}),
            ("settings", {"sink": "yes"}),
            ("settings", {"upload_milliseconds": 60_001}),
            ("settings", {"landing_url": "javascript:alert(1)"}),
            ("settings", {"landing_url": "http://shop.example/\r\nSet-Cookie: a=b"}),
            ("settings", {"redirect_uris": [1]}),
            ("settings", {"speed": 9}),
            ("revoke", {"user": "nobody"}),
            ("goals", {"id": "1"}),
            ("goals", {"account_id": SEARCH_US}),
            ("goals", {"account_id": "1", "name": "x"}),
            ("accounts", {"account_id": "1"}),
            ("accounts", {"account_id": SEARCH_US, "status": "Gone"}),
            ("accounts", {"account_id": SEARCH_US, "user": "nobody", "access": False}),
        ]
        for name, body in wrong:
            self.assertTrue(self.control(name, body, 400)["error"], body)

    def test_a_page_of_another_site_cannot_change_anything(self) -> None:
        r = self.session.post(f"{CONTROL}settings", data='{"sink":true}', headers={"Content-Type": "text/plain"})
        self.assertEqual((r.status_code, self.books.settings.sink), (400, False))


class SinkTests(EmulatorTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.control("settings", {"sink": True})

    def test_it_counts_rows_and_books_nothing(self) -> None:
        self.assert_taken(self.apply(conversion(), conversion()))
        self.assertEqual(self.ledger()["sink"], {"calls": 1, "rows": 2})
        self.assertEqual((self.books.bookings, self.books.received), ([], []))

    def test_it_still_minds_the_size_and_the_json(self) -> None:
        self.assert_fault_code(self.apply(*[conversion()] * 1001), 5601)
        self.assert_fault_code(self.apply(), 5600)
        r = self.session.post(f"{HOST}/CampaignManagement/v13/OfflineConversions/Apply", data=b"{")
        self.assertEqual((r.status_code, r.json()["Errors"][0]["Code"]), (400, 201))

    def assert_fault_code(self, r: requests.Response, code: int) -> None:
        self.assertEqual((r.status_code, r.json()["OperationErrors"][0]["Code"]), (400, code))
