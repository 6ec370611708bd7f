"""The table of wrong requests, at every door of a running server: told by field and rule, stored nowhere, not logged.

`test_bad_input.py` has the rules of each member. Here each kind of wrong comes to each door over HTTP.
"""

import gzip
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import SplitResult, urlsplit

from django.conf import settings
from django.test import TransactionTestCase

from ingest.hashing import SHA256_OF_NOTHING
from ingest.models import Adjustment, Click, Event, ServerKey, Site
from tests.cast import make_site, make_user
from tests.ingest.calls import ADJUSTMENT, CLICK, ORIGIN, PURCHASE
from tests.ingest.test_bad_input import BODIES
from tests.road.test_crashes import on_this_database, until_it_answers, web

NOBODY = "http://127.0.0.1:9"  # discard: the server must not reach Microsoft
# Nothing of a refused request may be repeated or logged; these are looked for.
JANE, PHONE, ODD = "jane.roe@example.com", "+14255550123", "zq9x7"
LONG = "7" * 5000


@dataclass(frozen=True)
class Way:
    """A door: its address, what its items are called, and a good one."""

    path: str
    items: str
    own_id: str
    good: dict[str, Any]
    moment: str
    text: str
    headers: dict[str, str]
    max_items: int
    max_bytes: int

    def batch(self, *raw: str) -> bytes:
        """Return a body of raw items."""
        return f'{{"{self.items}": [{",".join(raw)}]}}'.encode()

    def item(self, **members: Any) -> str:
        """Return a good item with other members, as JSON."""
        return json.dumps(self.good | members)


# What a member of any door's item holds, and the code; the member's name is that of the door.
MOMENTS = [
    ("2026-11-21T10:00:00", "time_malformed"),
    ("2026-11-21T10:00:00 Europe/Berlin", "time_malformed"),
    ("0001-01-01T00:00:00Z", "time_malformed"),
    ("0001-01-01T00:00:00+14:00", "time_malformed"),
    ("9999-12-31T23:59:59Z", "time_malformed"),
    ("9999-12-31T23:59:59-14:00", "time_malformed"),
    ("1970-01-01T00:00:00Z", "time_out_of_range"),
    ("2200-01-01T00:00:00Z", "time_in_future"),
    (1, "wrong_type"),
]
TEXTS = [
    (f"{ODD}\0", "bad_character"),
    (ODD * 100, "too_long"),
    (f"{ODD} {JANE}", "personal_data"),
    ([ODD], "wrong_type"),
    (int(LONG[:300]), "wrong_type"),
]
MONEY = [
    ("currency", "eur", "currency_lower_case"),
    ("currency", "Eur", "currency_lower_case"),
    ("currency", "ZQX", "currency_unknown"),
    ("currency", "XAU", "currency_unknown"),
    ("value", "0.0001", "value_decimals"),
    ("value", 1.2345, "value_decimals"),
    ("value", LONG, "value_malformed"),
    ("value", "NaN", "value_malformed"),
    ("value", -1, "value_negative"),
]
HASHES = [
    (JANE, "hash_malformed"),
    (PHONE, "hash_malformed"),
    (SHA256_OF_NOTHING, "hash_of_nothing"),
    (SHA256_OF_NOTHING.upper(), "hash_of_nothing"),
    ("0" * 63, "hash_malformed"),
    (f"{ODD}{'0' * 59}", "hash_malformed"),
]
TYPES = [
    {"Content-Type": "application/json; charset=latin-1"},
    {"Content-Type": "application/json; charset=utf-16"},
    {"Content-Type": f"application/json; charset={ODD}"},
    {"Content-Type": "text/html"},
    {"Content-Type": "application/x-www-form-urlencoded"},
    {"Content-Type": ""},
    {"Content-Encoding": "gzip"},
    {"Content-Encoding": "gzip, gzip"},
    {"Content-Encoding": ODD},
]
ODD_IDS = [
    "%00",
    "a%00b",
    "a%2Fb",
    "%2F",
    "%2e%2e%2f",
    "%ED%A0%80",
    "%ff",
    "x" * 10_000,
    "%F0%9F%8C%B2",
    "%3Cscript%3E",
    "'--",
]


class EveryDoorTests(TransactionTestCase):
    site: Site
    log: Path
    address: SplitResult

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.log = Path(cls.enterClassContext(TemporaryDirectory())) / "log"
        cls.address = urlsplit(cls.enterClassContext(logged_server(cls.log)))

    def setUp(self) -> None:
        self.site = make_site("Harbor & Pine", make_user("alice"))
        _, self.secret = ServerKey.objects.mint(self.site)
        self.connection = HTTPConnection(self.address.netloc, timeout=20)
        self.addCleanup(self.connection.close)
        json_type = {"Content-Type": "application/json"}
        page = ({"Origin": ORIGIN} | json_type, 100, 64 * 1024)
        backend = ({"Authorization": f"Bearer {self.secret}"} | json_type, 1000, 1024 * 1024)
        of_site = f"/v1/{self.site.write_key}"
        self.ways = [
            Way(f"{of_site}/events", "events", "event_id", PURCHASE, "occurred_at", "session_id", *page),
            Way(f"{of_site}/clicks", "clicks", "msclkid", CLICK, "captured_at", "session_id", *page),
            Way("/v1/events", "events", "event_id", PURCHASE, "occurred_at", "external_id", *backend),
            Way(
                "/v1/adjustments", "adjustments", "adjustment_id", ADJUSTMENT, "occurred_at", "transaction_id", *backend
            ),
        ]

    def tearDown(self) -> None:
        for model in (Event, Click, Adjustment):
            self.assertFalse(model._default_manager.exists(), model)
        said = self.log.read_text(encoding="utf-8").lower()
        self.assertIn("application startup complete", said)
        for secret in (JANE, "jane.roe", PHONE, PHONE[1:], ODD, LONG[:50], self.secret):
            self.assertNotIn(secret.lower(), said)

    def test_the_good_items_are_good(self) -> None:
        for way in self.ways:
            self.assertEqual(self.post(way, way.batch(way.item()))[0], 202)
        for model in (Event, Click, Adjustment):
            self.assertTrue(model._default_manager.exists())
            model._default_manager.all().delete()

    def test_bodies_that_cannot_be_read(self) -> None:
        for way in self.ways:
            for what, event_body, status, code, event_field in BODIES:
                if event_field == "sent_at" and way.items == "adjustments":
                    continue  # its body has no such member
                with self.subTest(way.path, what=what):
                    body = event_body.replace(b'"event', b'"' + way.items[:-1].encode())
                    field = event_field.replace("event", way.items[:-1])
                    said = self.refused(way, body, status, code)
                    found = [error["field"] for error in said.get("errors", [])]
                    self.assertEqual(found, [field] if status == 422 else [])

    def test_times(self) -> None:
        for way in self.ways:
            for held, code in MOMENTS:
                self.check_item(way, way.item(**{way.moment: held}), way.moment, code)

    def test_a_time_of_sending(self) -> None:
        for way in self.ways[:3]:
            for held, code in [
                *[(held, code) for held, code in MOMENTS if code == "time_malformed"],
                (5, "wrong_type"),
            ]:
                with self.subTest(way.path, held=held):
                    body = json.dumps({way.items: [way.good], "sent_at": held}).encode()
                    said = self.refused(way, body, 422, "body_malformed")
                    self.assertEqual([(e["field"], e["code"]) for e in said["errors"]], [("sent_at", code)])

    def test_texts(self) -> None:
        for way in self.ways:
            for held, code in TEXTS:
                self.check_item(way, way.item(**{way.text: held}), way.text, code)

    def test_money(self) -> None:
        for way in self.ways:
            for member, held, code in MONEY if way.items != "clicks" else ():
                self.check_item(way, way.item(**{member: held}), member, code)

    def test_hashes(self) -> None:
        for way in (self.ways[0], self.ways[2]):
            for member in ("email_sha256", "phone_sha256"):
                for held, code in HASHES:
                    self.check_item(way, way.item(user_data={member: held}), f"user_data.{member}", code)

    def test_plain_personal_data_from_a_page(self) -> None:
        for member, held in (("email", JANE), ("phone", PHONE), ("country", "US")):
            self.check_item(self.ways[0], self.ways[0].item(user_data={member: held}), "user_data", "personal_data")

    def test_names_used_twice(self) -> None:
        for way in self.ways:
            twice = way.item()[:-1] + f', "{way.own_id}": "{ODD}"}}'
            escaped = way.item()[:-1] + f', "\\u00{ord(way.own_id[0]):02x}{way.own_id[1:]}": "{ODD}"}}'
            for raw in (twice, escaped):
                self.check_item(way, raw, "", "duplicate_member")

    def test_members_of_nobody(self) -> None:
        for way in self.ways:
            self.check_item(way, way.item(revenue=ODD), "revenue", "unknown_member")
            self.check_item(way, way.item(**{JANE: 1}), "", "unknown_member")

    def test_items_that_are_none(self) -> None:
        for way in self.ways:
            for raw in ("null", "5", f'"{ODD}"', "[]", "[" * 30 + "]" * 30):
                self.check_item(way, raw, "", "wrong_type")
            self.check_item(way, LONG, "", "number_out_of_range")

    def test_numbers_of_5000_digits(self) -> None:
        for way in self.ways:
            without = json.dumps({name: held for name, held in way.good.items() if name != "value"})
            raw = without[:-1] + f', "value": {LONG}}}'
            code = "unknown_member" if way.items == "clicks" else "value_malformed"
            self.check_item(way, raw, "value", code)

    def test_surrogates_and_nul_in_every_member_of_text(self) -> None:
        for way in self.ways:
            for odd in (r"\ud800", r"\udc00", r"\udc00\ud800", r"\ud800x"):
                for raw in (way.item(**{way.text: "HERE"}), way.item()[:-1] + ', "HERE": 1}'):
                    self.refused(way, way.batch(raw.replace("HERE", odd)), 400, "invalid_json")

    def test_one_item_too_many(self) -> None:
        for way in self.ways:
            items = [way.item(**{way.own_id: f"a-{n}"}) for n in range(way.max_items + 1)]
            self.refused(way, way.batch(*items), 413, "too_many_items")

    def test_one_byte_too_many(self) -> None:
        for way in self.ways:
            body = way.batch(way.item())
            self.refused(way, body + b" " * (way.max_bytes + 1 - len(body)), 413, "body_too_large")

    def test_a_body_that_hides_its_size(self) -> None:
        for way in self.ways:
            pieces = (b" " * 60_000 for _ in range(way.max_bytes // 60_000 + 1))
            self.refused(way, pieces, 413, "body_too_large")
            self.connection.close()  # the rest was not read

    def test_other_types_charsets_and_encodings(self) -> None:
        for way in self.ways:
            for headers in TYPES:
                with self.subTest(way.path, headers=headers):
                    body = way.batch(way.item())
                    if "gzip" in headers.get("Content-Encoding", ""):
                        body = gzip.compress(body + b" " * 50_000_000, compresslevel=6)[: way.max_bytes]
                    self.refused(way, body, 415, "unsupported_media_type", headers)

    def test_a_body_that_breaks_off(self) -> None:
        for way in self.ways:
            body = way.batch(way.item())
            head = f"POST {way.path} HTTP/1.1\r\nHost: {self.address.netloc}\r\nContent-Length: {len(body)}\r\n"
            head += "".join(f"{name}: {value}\r\n" for name, value in way.headers.items())
            with socket.create_connection((self.address.hostname or "", self.address.port or 0)) as sender:
                sender.sendall(f"{head}\r\n".encode() + body[:-1])
        self.assertEqual(self.ask("GET", "/healthz")[0], 200)

    def test_ids_that_nothing_can_have(self) -> None:
        headers = self.ways[3].headers
        for what, code in (("events", "event_not_found"), ("adjustments", "adjustment_not_found")):
            for odd in ODD_IDS:
                with self.subTest(what, odd=odd[:40]):
                    status, said = self.ask("GET", f"/v1/{what}/{odd}", headers=headers)
                    self.assertEqual(status, 404)
                    self.assertEqual(
                        said["type"], "/problems/not_found" if "%2F" in odd.upper() else f"/problems/{code}"
                    )

    def test_write_keys_that_no_site_can_have(self) -> None:
        for way in self.ways[:2]:
            for odd in ODD_IDS:
                with self.subTest(way.items, odd=odd[:40]):
                    body = way.batch(way.item())
                    status, said = self.ask("POST", f"/v1/{odd}/{way.items}", body, way.headers)
                    self.assertEqual(status, 404)
                    self.assertIn(said["type"], ("/problems/unknown_key", "/problems/not_found"))

    def check_item(self, way: Way, raw: str, member: str, code: str) -> None:
        """Send one wrong item, and check that it is told by its field and the rule."""
        with self.subTest(way.path, member=member, code=code, raw=raw[:60]):
            said = self.refused(way, way.batch(raw), 422, "nothing_accepted")
            field = f"{way.items}[0].{member}" if member else f"{way.items}[0]"
            self.assertEqual([(error["field"], error["code"]) for error in said["errors"]], [(field, code)])

    def refused(
        self, way: Way, body: "bytes | Iterator[bytes]", status: int, code: str, headers: dict[str, str] | None = None
    ) -> dict[str, Any]:
        """Post a body, and check that it is refused with this problem, which repeats nothing of it."""
        said: dict[str, Any]
        found, said = self.post(way, body, headers or {})
        self.assertEqual((found, said["type"], said["status"]), (status, f"/problems/{code}", status), said)
        for secret in (JANE, PHONE, ODD, LONG[:50]):
            self.assertNotIn(secret, json.dumps(said))
        return said

    def post(self, way: Way, body: "bytes | Iterator[bytes]", headers: dict[str, str] | None = None) -> tuple[int, Any]:
        """Post a body to a door."""
        return self.ask("POST", way.path, body, way.headers | (headers or {}))

    def ask(
        self,
        method: str,
        path: str,
        body: "bytes | Iterator[bytes] | None" = None,
        headers: dict[str, str] | None = None,
    ) -> tuple[int, Any]:
        """Return status and JSON of an answer."""
        self.connection.request(method, path, body, headers or {})
        response = self.connection.getresponse()
        raw = response.read()
        problem = response.headers.get("Content-Type") == "application/problem+json"
        return response.status, json.loads(raw) if problem or raw.startswith(b"{") else raw


@contextmanager
def logged_server(log: Path) -> Iterator[str]:
    """Run `manage.py web` on a free port, everything it says in a file; give its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, str(settings.BASE_DIR / "manage.py"), "web", "--port", str(port), "--workers", "1"]
    given = on_this_database(NOBODY) | {"LOG_LEVEL": "DEBUG", "KEY_REQUESTS_PER_SECOND": "0"}
    with log.open("wb") as said, subprocess.Popen(command, env=given, stdout=said, stderr=said) as process:
        try:
            until_it_answers(f"http://127.0.0.1:{port}/healthz")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()


class TwoServersTests(TransactionTestCase):
    """Two processes on one database: only its constraint can decide which of two requests was first."""

    SENDERS = 12

    def setUp(self) -> None:
        self.site = make_site("Harbor & Pine", make_user("alice"))
        _, self.secret = ServerKey.objects.mint(self.site)
        self.servers = [self.enterContext(web(NOBODY, KEY_REQUESTS_PER_SECOND="0"))[1] for _ in range(2)]

    def statuses(self, path: str, items: str, said: list[dict[str, Any]]) -> list[tuple[int, str]]:
        """Send all items at the same time, to the servers in turn; return status and outcome or problem of each."""

        def send(turn: int) -> tuple[int, str]:
            connection = HTTPConnection(urlsplit(self.servers[turn % 2]).netloc, timeout=20)
            headers = {"Content-Type": "application/json"}
            headers |= {"Authorization": f"Bearer {self.secret}"} if "wk_" not in path else {}
            connection.request("POST", path, json.dumps({items: [said[turn]]}), headers)
            response = connection.getresponse()
            answer = json.loads(response.read())
            connection.close()
            return response.status, answer.get("type") or answer["results"][0]["status"]

        with ThreadPoolExecutor(len(said)) as pool:
            return sorted(pool.map(send, range(len(said))))

    def test_the_same_is_stored_once(self) -> None:
        for path, items, good in (
            ("/v1/events", "events", PURCHASE),
            (f"/v1/{self.site.write_key}/events", "events", PURCHASE | {"event_id": "e-2"}),
            (f"/v1/{self.site.write_key}/clicks", "clicks", CLICK),
            ("/v1/adjustments", "adjustments", ADJUSTMENT),
        ):
            with self.subTest(path):
                told = self.statuses(path, items, [good] * self.SENDERS)
                self.assertEqual(told, [(202, "accepted"), *[(202, "duplicate")] * (self.SENDERS - 1)])
        self.assertEqual((Event.objects.count(), Click.objects.count(), Adjustment.objects.count()), (2, 1, 1))

    def test_of_different_bodies_under_one_id_the_first_is_kept(self) -> None:
        for path, items, good, model in (
            ("/v1/events", "events", PURCHASE, Event),
            (f"/v1/{self.site.write_key}/events", "events", PURCHASE | {"event_id": "e-2"}, Event),
            ("/v1/adjustments", "adjustments", ADJUSTMENT, Adjustment),
        ):
            with self.subTest(path):
                told = self.statuses(path, items, [good | {"value": n} for n in range(1, self.SENDERS + 1)])
                conflict = (409, "/problems/conflict")
                self.assertEqual(told, [(202, "accepted"), *[conflict] * (self.SENDERS - 1)])
                kept = model._default_manager.latest("pk").value
                again = self.statuses(path, items, [good | {"value": int(kept or 0)}, good | {"value": 99}])
                self.assertEqual(again, [(202, "duplicate"), conflict])
                self.assertEqual(model._default_manager.latest("pk").value, kept)
