"""Every kind of fault: what the caller sees, whether the rows were booked, and that it ends."""

import requests

from integrations.microsoft_ads.emulator.app import PATHS
from integrations.microsoft_ads.emulator.faults import KINDS, OPERATIONS
from tests.support.emulator import CUSTOMER, HOST, EmulatorTestCase, conversion

GOOD = conversion()


class FaultTests(EmulatorTestCase):
    def booked(self) -> int:
        return len(self.books.bookings)

    def assert_over(self) -> None:
        """Assert that the fault has gone and the same rows are now taken."""
        self.assertEqual(self.session.get(f"{HOST}/_emulator/faults").json(), {"faults": []})
        self.assert_taken(self.apply(GOOD))
        self.assertEqual(self.booked(), 1)

    def test_status(self) -> None:
        self.plan("503", retry_after=7, body="busy")
        r = self.apply(GOOD)
        self.assertEqual((r.status_code, r.text, r.headers["Retry-After"]), (503, "busy", "7"))
        self.assertEqual(self.booked(), 0)
        self.assert_over()

    def test_status_without_a_body(self) -> None:
        self.plan("502")
        self.assertEqual((self.apply(GOOD).content, self.booked()), (b"", 0))
        self.assert_over()

    def test_throttled(self) -> None:
        self.plan("throttled", retry_after=60)
        r = self.apply(GOOD)
        self.assert_fault(r, 429, 117, "AdApiFaultDetail")
        self.assertEqual((r.headers["Retry-After"], self.booked()), ("60", 0))
        self.assert_over()

    def test_token_expired(self) -> None:
        self.plan("token_expired")
        self.assert_fault(self.apply(GOOD), 401, 109, "AdApiFaultDetail")
        self.assert_over()

    def test_fault_code_in_each_shape(self) -> None:
        for shape in ("AdApiFaultDetail", "ApiFaultDetail", "ApiFault"):
            self.plan("fault_code", code=5612, error_code="OfflineConversionsApplyFailed", shape=shape, status=500)
            self.assert_fault(self.apply(GOOD), 500, 5612, shape)
        self.assert_over()

    def test_oauth_error(self) -> None:
        self.plan("oauth_error", "token", error="server_error", code=90033, status=503)
        r = self.token(code=self.code())
        self.assertEqual((r.status_code, r.json()["error"], r.json()["error_codes"]), (503, "server_error", [90033]))
        self.assert_over()

    def test_close_before(self) -> None:
        self.plan("close_before")
        with self.assertRaises(requests.ConnectionError):
            self.apply(GOOD)
        self.assertEqual(self.booked(), 0)
        self.assert_over()

    def test_close_after(self) -> None:
        self.plan("close_after")
        with self.assertRaises(requests.ConnectionError):
            self.apply(GOOD)
        self.assertEqual(self.booked(), 1)
        self.assert_over()

    def test_partial_error(self) -> None:
        self.plan("partial_error", indexes=[1], code=5612, error_code="OfflineConversionsApplyFailed")
        r = self.apply(GOOD, conversion(MicrosoftClickId="a" * 32))
        self.assertEqual([(e["Index"], e["Code"]) for e in r.json()["PartialErrors"]], [(1, 5612)])
        self.assertEqual(self.booked(), 1)
        self.assert_over()

    def test_delay(self) -> None:
        self.plan("delay", seconds=4.9)
        self.assert_taken(self.apply(GOOD))
        self.plan("delay", seconds=5)
        with self.assertRaises(requests.ReadTimeout):
            self.apply(conversion(MicrosoftClickId="a" * 32))
        self.assertEqual(self.booked(), 2)

    def test_truncated(self) -> None:
        self.plan("truncated")
        with self.assertRaises(requests.exceptions.ChunkedEncodingError):
            self.apply(GOOD)
        self.assertEqual(self.booked(), 1)
        self.assert_over()

    def test_html(self) -> None:
        self.plan("html")
        r = self.apply(GOOD)
        self.assertEqual((r.status_code, r.headers["Content-Type"]), (200, "text/html; charset=utf-8"))
        self.assertEqual(self.booked(), 1)
        self.assert_over()

    def test_empty(self) -> None:
        self.plan("empty")
        r = self.apply(GOOD)
        self.assertEqual((r.status_code, r.content, self.booked()), (200, b"", 1))
        self.assert_over()

    def test_wrong_shape(self) -> None:
        self.plan("wrong_shape")
        self.assertNotIsInstance(self.apply(GOOD).json()["PartialErrors"], list)
        self.assert_over()

    def test_index_out_of_range(self) -> None:
        self.plan("index_out_of_range")
        self.assertEqual(self.apply(GOOD).json()["PartialErrors"][0]["Index"], 1)
        self.assert_over()

    def test_every_kind_has_its_test(self) -> None:
        for kind in KINDS:
            self.assertTrue(any(name.startswith(f"test_{kind}") for name in dir(self)), kind)


class QueueTests(EmulatorTestCase):
    def test_faults_strike_in_order_and_end(self) -> None:
        self.plan("503", times=2)
        self.plan("429")
        self.assertEqual([self.apply(GOOD).status_code for _ in range(4)], [503, 503, 429, 200])

    def test_a_fault_lets_as_many_calls_pass_as_it_was_told(self) -> None:
        self.plan("503", after=2)
        self.plan("429", after=1)
        self.assertEqual([self.apply(GOOD).status_code for _ in range(6)], [200, 200, 503, 200, 429, 200])

    def test_a_fault_waits_for_its_operation(self) -> None:
        self.plan("503", "User/Query")
        self.assert_taken(self.apply(GOOD))
        self.assertEqual(self.call("User/Query", {}, CUSTOMER).status_code, 503)

    def test_a_star_meets_any_operation(self) -> None:
        self.plan("500", "*", times=2)
        self.assertEqual((self.apply(GOOD).status_code, self.call("User/Query", {}, CUSTOMER).status_code), (500, 500))

    def test_waiting_faults_can_be_seen_and_dropped(self) -> None:
        self.plan("503", times=3)
        self.apply(GOOD)
        waiting = self.session.get(f"{HOST}/_emulator/faults").json()["faults"]
        self.assertEqual([(one["fault"], one["remaining"]) for one in waiting], [("503", 2)])
        r = self.session.delete(f"{HOST}/_emulator/faults", headers={"Content-Type": "application/json"})
        self.assertEqual(r.json(), {"dropped": 1})
        self.assert_taken(self.apply(GOOD))

    def test_a_call_that_met_a_fault_says_so(self) -> None:
        self.plan("close_before")
        with self.assertRaises(requests.ConnectionError):
            self.apply(GOOD)
        call = self.session.get(f"{HOST}/_emulator/calls.json").json()["calls"][-1]
        self.assertEqual((call["fault"], call["status"]), ("close_before", 0))

    def test_a_fault_that_could_not_strike_is_refused(self) -> None:
        good: dict[str, object] = {"operation": "OfflineConversions/Apply", "fault": "503"}
        wrong: list[tuple[str, object]] = [
            ("operation", "OfflineConversions"),
            ("operation", None),
            ("fault", "explode"),
            ("fault", "999"),
            ("fault", "partial_error"),
            ("times", 0),
            ("times", "3"),
            ("times", 1.5),
            ("after", -1),
            ("indexes", [-1]),
            ("seconds", -1),
            ("seconds", 601),
            ("retry_after", -1),
            ("shape", "Fault"),
            ("colour", "red"),
        ]
        for member, value in wrong:
            answer = self.control("faults", good | {member: value}, 400)
            self.assertTrue(answer["error"], member)
        self.assertEqual(self.session.get(f"{HOST}/_emulator/faults").json(), {"faults": []})

    def test_every_operation_can_fail(self) -> None:
        served = {path.split("/v13/")[-1] for path in PATHS} | {"*", "authorize", "token"}
        self.assertEqual(set(OPERATIONS), served)
