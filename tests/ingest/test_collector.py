"""The fast way in: it answers as the views do, commits concurrent requests together, and keeps nobody waiting."""

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from unittest.mock import patch

from django.db import DataError, InterfaceError, OperationalError
from django.http import HttpResponse
from django.test import override_settings
from django.utils import timezone

from ingest import collector, limits, refused_items, storing
from ingest.collector import Collector
from ingest.committing import commit
from ingest.keys import SERVER_KEYS, WRITE_KEYS, forget_all
from ingest.models import Adjustment, BlockedOrigin, Click, Event, RefusedItem
from ingest.notes import Notes
from tests.cast import CLICK_ID
from tests.ingest.asgi import CollectorTestCase, Told
from tests.ingest.calls import ADJUSTMENT, CLICK, ORIGIN, PURCHASE

EVENTS = {"events": [PURCHASE]}
SAID_BY_BOTH = (
    "Content-Type",
    "Cache-Control",
    "Vary",
    "Allow",
    "Retry-After",
    "Www-Authenticate",
    "Cross-Origin-Resource-Policy",
    "Access-Control-Allow-Origin",
    "Access-Control-Allow-Methods",
    "Access-Control-Allow-Headers",
    "Access-Control-Max-Age",
    "Access-Control-Expose-Headers",
)


def purchase(event_id: str, **members: object) -> dict[str, Any]:
    """Return a body with one purchase."""
    return {"events": [PURCHASE | {"event_id": event_id} | members]}


class ParityTests(CollectorTestCase):
    """Each request is made twice, through the collector and through Django, on a database of the same rows."""

    def assert_alike(self, method: str, path: str, body: bytes, status: int, **headers: str) -> None:
        _empty()
        [fast] = self.run_all(self.ask(method, path, [body], **headers))
        _empty()
        given = {name.replace("_", "-").title(): value for name, value in headers.items()}
        plain = self.client.generic(method, path, body, headers.get("content-type", ""), headers=given)
        assert isinstance(plain, HttpResponse)
        self.assertEqual((fast.status, plain.status_code), (status, status), fast.body)
        self.assertEqual(fast.body, plain.content)
        if not plain.content:
            del plain.headers["Content-Type"]  # which Django cannot leave out
        for name in SAID_BY_BOTH:
            self.assertEqual(fast.headers.get(name), plain.headers.get(name), name)

    def test_a_page_gets_the_same_answer(self) -> None:
        events, clicks = (f"/v1/{self.site.write_key}/{what}" for what in ("events", "clicks"))
        page = {"origin": ORIGIN, "content-type": "text/plain;charset=UTF-8"}
        good, bad = json.dumps(EVENTS).encode(), b'{"events": [{"name": 7}]}'
        for method, path, body, status, headers in (
            ("POST", events, good, 202, page),
            ("POST", events, bad, 422, page),
            ("POST", events, b"{", 400, page),
            ("POST", events, b" " * 70_000, 413, page),
            ("POST", events, good, 415, page | {"content-type": "text/html"}),
            ("POST", events, good, 415, page | {"content-encoding": "gzip"}),
            ("POST", events, good, 403, page | {"origin": "https://evil.example"}),
            ("POST", clicks, json.dumps({"clicks": [CLICK]}).encode(), 202, page),
            ("POST", clicks, json.dumps({"clicks": [CLICK]}).encode(), 422, page | {"sec-gpc": "1"}),
            ("OPTIONS", events, b"", 204, {"origin": ORIGIN, "access-control-request-method": "POST"}),
            ("OPTIONS", events, b"", 403, {"origin": "https://evil.example"}),
            ("GET", events, b"", 405, page),
            ("POST", f"/v1/wk_{'0' * 32}/events", good, 404, page),
            ("POST", "/v1/nonsense/clicks", good, 404, page),
        ):
            with self.subTest(method=method, status=status, path=path):
                self.assert_alike(method, path, body, status, **headers)

    def test_a_backend_gets_the_same_answer(self) -> None:
        key = {"authorization": f"Bearer {self.secret}", "content-type": "application/json"}
        for what, said in (("events", EVENTS), ("adjustments", {"adjustments": [ADJUSTMENT]})):
            good = json.dumps(said).encode()
            for method, body, status, headers in (
                ("POST", good, 202, key),
                ("POST", json.dumps({what: []}).encode(), 422, key),
                ("POST", good, 401, {"content-type": "application/json"}),
                ("POST", good, 401, key | {"authorization": "Bearer sk_" + "x" * 43}),
                ("POST", good, 403, key | {"origin": ORIGIN}),
                ("POST", good, 415, key | {"content-type": "text/plain"}),
                ("PUT", good, 405, key),
            ):
                with self.subTest(what=what, method=method, status=status):
                    self.assert_alike(method, f"/v1/{what}", body, status, **headers)

    def test_everything_else_goes_on_to_django(self) -> None:
        for path in ("/", "/healthz", "/v1/events/e-1", "/v1/", "/v1/a/b/events", "/v1/events/"):
            [told] = self.run_all(self.post(path, b""))
            self.assertEqual((told.status, told.body), (299, b"behind"), path)

    def test_the_sdk_is_served(self) -> None:
        [whole, head] = self.run_all(
            self.ask("GET", "/sdk/convultra.v1.js", [b""]), self.ask("HEAD", "/sdk/convultra.v1.js", [b""])
        )
        self.assertEqual((whole.status, whole.headers["Content-Length"]), (200, str(len(whole.body))))
        self.assertEqual((head.status, head.body), (200, b""))
        self.assertEqual(head.headers["Content-Length"], whole.headers["Content-Length"])

    @override_settings(SECURE_SSL_REDIRECT=True)
    def test_a_redirect_to_https_is_djangos(self) -> None:
        [told] = self.run_all(self.from_page("events", EVENTS))
        self.assertEqual(told.status, 299)


class CommitTests(CollectorTestCase):
    def watch(self, first: Callable[[], object] = lambda: None) -> list[int]:
        """Return a list that fills with the number of requests in each commit; the first one is held up by `first`."""
        commits: list[int] = []

        def watched(batches: Sequence[Any], now: Any) -> Any:
            commits.append(len(batches))
            if len(commits) == 1:
                first()
            return commit(batches, now)

        self.enterContext(patch.object(collector, "commit", watched))
        return commits

    def test_what_comes_during_a_commit_is_committed_together(self) -> None:
        everybody_is_here = threading.Event()
        WRITE_KEYS.find(self.site.write_key)
        commits = self.watch(first=lambda: everybody_is_here.wait(30))

        async def last() -> Told:
            while not commits:  # the first commit has begun, and waits for us
                await asyncio.sleep(0)
            asyncio.get_running_loop().call_later(0.01, everybody_is_here.set)
            return await self.from_page("events", purchase("last"))

        told = self.run_all(*(self.from_page("events", purchase(f"e-{n}")) for n in range(49)), last())
        self.assertEqual({each.status for each in told}, {202})
        self.assertEqual(Event.objects.count(), 50)
        self.assertEqual(commits, [49, 1])

    def test_each_is_told_of_its_own(self) -> None:
        WRITE_KEYS.find(self.site.write_key)
        told = self.run_all(
            self.from_page("events", purchase("e-1")),
            self.from_page("events", purchase("e-1")),
            self.from_page("events", purchase("e-1", value=1)),
            self.from_page("clicks", {"clicks": [CLICK]}),
            self.post(
                "/v1/events", purchase("e-2"), authorization=f"Bearer {self.secret}", content_type="application/json"
            ),
        )
        self.assertEqual([each.status for each in told], [202, 202, 409, 202, 202])
        labels = [each.json()["results"][0] for each in told if each.status == 202]
        self.assertEqual(
            [(result.get("event_id") or result["msclkid"], result["status"]) for result in labels],
            [("e-1", "accepted"), ("e-1", "duplicate"), (CLICK_ID, "accepted"), ("e-2", "accepted")],
        )

    def test_a_row_that_the_database_refuses_fails_no_other_request(self) -> None:
        insert = storing._insert

        def refusing(statement: Any, rows: Sequence[Any]) -> Any:
            if any(row.event_id == "e-7" for row in rows):
                raise DataError("value too long")
            return insert(statement, rows)

        with patch.object(storing, "_insert", refusing), self.assertLogs("ingest.committing", "ERROR"):
            told = self.run_all(*(self.from_page("events", purchase(f"e-{n}")) for n in range(20)))
        self.assertEqual([each.status for each in told], [422 if n == 7 else 202 for n in range(20)])
        self.assertEqual(Event.objects.count(), 19)

    def test_a_site_that_is_deleted_meanwhile_fails_no_other_site(self) -> None:
        self.run_all(self.from_page("events", purchase("e-0")))
        path = f"/v1/{self.site.write_key}/events"
        type(self.site).objects.filter(pk=self.site.pk).delete()
        type(self.site).objects.bulk_create([type(self.site)(organisation=self.site.organisation, name="Other")])
        other = type(self.site).objects.get()
        told = self.run_all(
            self.post(path, purchase("e-1"), content_type="text/plain"),
            self.post(f"/v1/{other.write_key}/events", purchase("e-2"), content_type="text/plain"),
        )
        self.assertEqual([each.status for each in told], [404, 202])

    def test_a_key_is_looked_up_once_for_many_requests(self) -> None:
        self.run_all(self.from_page("events", purchase("e-0")))
        with patch.object(WRITE_KEYS, "_find") as look_up:
            told = self.run_all(*(self.from_page("events", purchase(f"e-{n}")) for n in range(1, 20)))
        self.assertEqual({each.status for each in told}, {202})
        look_up.assert_not_called()


class TroubleTests(CollectorTestCase):
    def test_while_the_database_is_away_everybody_may_come_again_and_then_it_goes_on(self) -> None:
        places = (storing, "_insert"), (limits, "_update"), (WRITE_KEYS, "_find")
        for owner, place in places:
            forget_all()
            with patch.object(owner, place, side_effect=OperationalError("terminating connection")):
                told = self.run_all(*(self.from_page("events", purchase(f"e-{n}")) for n in range(5)))
            self.assertEqual({(each.status, each.headers["Retry-After"]) for each in told}, {(503, "5")}, place)
            self.assertEqual(told[0].headers["Access-Control-Allow-Origin"], ORIGIN)
        [told_after] = self.run_all(self.from_page("events", purchase("e-1")))
        self.assertEqual((told_after.status, Event.objects.count()), (202, 1))

    def test_who_is_refused_together_learns_nothing_of_the_others(self) -> None:
        backend = self.post(
            "/v1/events", EVENTS, authorization=f"Bearer {self.secret}", content_type="application/json"
        )
        WRITE_KEYS.find(self.site.write_key)
        SERVER_KEYS.find(self.secret)
        with patch.object(storing, "_insert", side_effect=OperationalError("terminating connection")):
            page, other = self.run_all(self.from_page("events", EVENTS), backend)
        self.assertEqual((page.status, other.status), (503, 503))
        self.assertEqual(page.headers["Access-Control-Allow-Origin"], ORIGIN)
        self.assertNotIn("Access-Control-Allow-Origin", other.headers)

    def test_a_fault_of_ours_is_logged_and_told(self) -> None:
        with patch.object(collector, "commit", side_effect=ZeroDivisionError), self.assertLogs("ingest.collector"):
            [told] = self.run_all(self.from_page("events", EVENTS))
        self.assertEqual((told.status, told.json()["type"]), (500, "/problems/server_error"))

    def test_nobody_waits_for_a_commit_that_does_not_come_back(self) -> None:
        release = threading.Event()
        self.addCleanup(release.set)
        WRITE_KEYS.find(self.site.write_key)

        def hang(batches: Sequence[Any], now: Any) -> Any:
            release.wait(10)
            return commit(batches, now)

        with patch.multiple(collector, commit=hang, ANSWER_SECONDS=0.05, IMPATIENCE_SECONDS=0.01):
            [told] = self.run_all(self.and_then(self.from_page("events", purchase("e-1")), release))
        self.assertEqual((told.status, told.headers["Retry-After"]), (503, "5"))

    def test_nobody_waits_for_ever_for_the_turn_of_its_adjustments(self) -> None:
        release = threading.Event()
        self.addCleanup(release.set)
        SERVER_KEYS.find(self.secret)
        headers = {"authorization": f"Bearer {self.secret}", "content_type": "application/json"}
        adjust = self.post("/v1/adjustments", {"adjustments": [ADJUSTMENT]}, **headers)
        with patch.multiple(collector, commit=lambda *_: release.wait(10), ANSWER_SECONDS=0.05):
            [told] = self.run_all(self.and_then(adjust, release))
        self.assertEqual((told.status, told.headers["Retry-After"]), (503, "5"))

    def test_a_question_is_not_waited_for_longer_and_django_not_cut_off(self) -> None:
        ends: list[str] = []

        async def slow(_scope: Any, receive: Callable[[], Any], send: Callable[[Any], Any]) -> None:
            await receive()
            await asyncio.sleep(0.1)
            await send({"type": "http.response.start", "status": 299, "headers": []})
            ends.append("in its own time")

        self.collector = Collector(slow)
        self.addCleanup(self.collector.close)

        async def ask_and_stay() -> Told:
            told = await self.ask("GET", "/v1/events/e-1", [b""])
            await asyncio.sleep(0.2)
            return told

        with patch.object(collector, "ANSWER_SECONDS", 0.02):
            [told] = self.run_all(ask_and_stay())
        self.assertEqual((told.status, told.headers["Retry-After"], ends), (503, "5", ["in its own time"]))

    def test_above_its_bounds_the_queue_takes_nobody(self) -> None:
        for bound, size in (("MAX_WAITING_ROWS", 10), ("MAX_WAITING_BYTES", 3_000)):
            with patch.object(collector, bound, size):
                WRITE_KEYS.find(self.site.write_key)
                told = self.run_all(*(self.from_page("events", purchase(f"{bound}-{n}")) for n in range(40)))
            refused = [each for each in told if each.status == 503]
            self.assertTrue(refused and len(refused) < 40, bound)
            self.assertEqual({each.headers["Retry-After"] for each in refused}, {"5"})
            self.assertEqual(Event.objects.filter(event_id__startswith=bound).count(), 40 - len(refused))

    def test_a_single_batch_is_taken_however_large(self) -> None:
        many = {"events": [PURCHASE | {"event_id": f"e-{n}"} for n in range(50)]}
        with patch.object(collector, "MAX_WAITING_ROWS", 10):
            [told] = self.run_all(self.from_page("events", many))
        self.assertEqual((told.status, Event.objects.count()), (202, 50))

    def test_a_body_may_come_in_pieces(self) -> None:
        raw = json.dumps(EVENTS).encode()
        [told] = self.run_all(self.from_page_in_pieces(raw[:10], raw[10:100], raw[100:]))
        self.assertEqual(told.status, 202)

    def test_no_more_is_read_than_the_door_takes(self) -> None:
        pieces = [b" " * 40_000] * 1_000
        [told] = self.run_all(self.from_page_in_pieces(*pieces))
        self.assertEqual((told.status, told.json()["type"]), (413, "/problems/body_too_large"))

    def test_a_body_that_does_not_come_is_not_waited_for(self) -> None:
        async def never() -> Any:
            await asyncio.Event().wait()

        with patch.object(collector, "BODY_SECONDS", 0.01):
            [told] = self.run_all(self.told_by(never))
        self.assertEqual((told[0]["status"], len(told)), (408, 2))

    def test_a_sender_that_hangs_up_is_told_nothing(self) -> None:
        async def gone() -> Any:
            return {"type": "http.disconnect"}

        self.assertEqual(self.run_all(self.told_by(gone)), [[]])
        self.assertFalse(Event.objects.exists())

    def test_it_starts_and_ends_with_the_server(self) -> None:
        coming = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
        told: list[str] = []

        async def receive() -> Any:
            return coming.pop(0)

        async def send(message: Any) -> None:
            told.append(message["type"])

        self.run_all(self.collector({"type": "lifespan"}, receive, send))
        self.assertEqual(told, ["lifespan.startup.complete", "lifespan.shutdown.complete"])

    async def and_then(self, request: Awaitable[Told], release: threading.Event) -> Told:
        """Let go what hangs when a request was answered."""
        told = await request
        release.set()
        return told

    async def from_page_in_pieces(self, *pieces: bytes) -> Told:
        path = f"/v1/{self.site.write_key}/events"
        return await self.ask("POST", path, list(pieces), origin=ORIGIN, content_type="text/plain")

    async def told_by(self, receive: Callable[[], Any]) -> list[Any]:
        """Return the messages that are sent to somebody whose own come from `receive`."""
        told: list[Any] = []

        async def send(message: Any) -> None:
            told.append(message)

        headers = [(b"origin", ORIGIN.encode()), (b"content-type", b"text/plain")]
        path = f"/v1/{self.site.write_key}/events"
        scope = {"type": "http", "method": "POST", "scheme": "http", "path": path, "headers": headers, "client": None}
        await self.collector(scope, receive, send)
        return told


class TurnedAwayTests(CollectorTestCase):
    """A page that is not on its site's list is noted in a thread, which has done so when the collector is closed."""

    def noted(self) -> list[tuple[int, str]]:
        self.collector.close()
        return list(BlockedOrigin.objects.values_list("site", "origin"))

    def test_it_is_noted_once(self) -> None:
        preflight = self.ask("OPTIONS", f"/v1/{self.site.write_key}/events", [b""], origin="https://evil.example")
        posts = [self.from_page("events", EVENTS, origin="https://evil.example") for _ in range(3)]
        told = self.run_all(preflight, *posts)
        self.assertEqual({each.status for each in told}, {403})
        self.assertEqual(self.noted(), [(self.site.pk, "https://evil.example")])

    def test_nobody_else_is(self) -> None:
        told = self.run_all(
            self.ask("OPTIONS", f"/v1/{self.site.write_key}/events", [b""], origin=ORIGIN),
            self.from_page("events", EVENTS),
            self.from_page("events", {"events": []}),
            self.from_page("events", EVENTS, **{"content-type": "text/html"}),
            self.from_page("clicks", {"clicks": [CLICK]}, origin=""),
            self.post(f"/v1/wk_{'0' * 32}/events", EVENTS, origin="https://evil.example", content_type="text/plain"),
        )
        self.assertEqual([each.status for each in told], [204, 202, 422, 415, 202, 404])
        self.assertEqual(self.noted(), [])

    def test_trouble_with_the_note_is_not_the_pages(self) -> None:
        away = patch.object(Notes, "_write", side_effect=OperationalError("terminating connection"))
        with away, self.assertLogs("ingest.notes", "WARNING"):
            [told] = self.run_all(self.from_page("events", EVENTS, origin="https://evil.example"))
            self.assertEqual((told.status, self.noted()), (403, []))


class RefusedTests(CollectorTestCase):
    """What is refused is noted in a thread, which has done so when the collector is closed."""

    def noted(self) -> list[tuple[str, str, str, str]]:
        self.collector.close()
        return sorted(RefusedItem.objects.values_list("source", "what", "member", "code"))

    def test_a_purchase_that_is_refused_is_noted_once(self) -> None:
        told = self.run_all(*(self.from_page("events", purchase(f"e-{n}", currency="$")) for n in range(3)))
        self.assertEqual({each.status for each in told}, {422})
        self.assertEqual(self.noted(), [("browser", "events", "currency", "currency_unknown")])

    def test_beside_others_that_are_taken_it_is_noted_too(self) -> None:
        both = {"events": [PURCHASE, PURCHASE | {"event_id": "e-2", "name": "1st"}]}
        headers = {"authorization": f"Bearer {self.secret}", "content_type": "application/json"}
        [told] = self.run_all(self.post("/v1/events", both, **headers))
        self.assertEqual((told.status, self.noted()), (202, [("server", "events", "name", "name_malformed")]))

    def test_bodies_that_cannot_be_read_are_noted(self) -> None:
        types = {"content-type": "text/html"}
        self.run_all(self.from_page("events", b"{"), self.from_page("clicks", {"clicks": [CLICK]}, **types))
        codes = [("clicks", "", "unsupported_media_type"), ("events", "", "invalid_json")]
        self.assertEqual([row[1:] for row in self.noted()], codes)

    def test_what_is_accepted_or_contradicts_itself_asks_for_no_note(self) -> None:
        with patch.object(refused_items, "note") as note:
            for body in (EVENTS, EVENTS, purchase("e-1", value=1)):
                self.run_all(self.from_page("events", body))
            self.run_all(self.ask("OPTIONS", f"/v1/{self.site.write_key}/events", [b""], origin=ORIGIN))
            self.collector.close()
        note.assert_not_called()

    def test_trouble_with_the_note_is_not_the_senders(self) -> None:
        away = patch.object(Notes, "_write", side_effect=InterfaceError("connection already closed"))
        with away, self.assertLogs("ingest.notes", "WARNING"):
            [told] = self.run_all(self.from_page("events", purchase("e-1", currency="$")))
            self.assertEqual((told.status, self.noted()), (422, []))


class AfterAnswerTests(CollectorTestCase):
    def test_an_answer_is_given_after_its_commit(self) -> None:
        seen: list[int] = []

        async def post() -> None:
            told = await self.from_page("events", purchase("e-1"))
            seen.append(told.status)
            seen.append(await asyncio.to_thread(_count))

        self.run_all(post())
        self.assertEqual(seen, [202, 1])
        self.assertLess(Event.objects.get().received_at, timezone.now())


def _count() -> int:
    from django.db import connection

    try:
        return Event.objects.count()
    finally:
        connection.close()


def _empty() -> None:
    for model in (Event, Click, Adjustment):
        model.objects.all().delete()
