"""JSON that does not bind fails the whole request, names its member, and nothing of it is taken."""

import json

from tests.support.emulator import CAMPAIGN, CUSTOMER, HOST, EmulatorTestCase, adjustment, conversion


class BindingTests(EmulatorTestCase):
    def assert_unbound(self, row: object, member: str, code: int = 201) -> None:
        r = self.apply(conversion(), row)
        self.assert_fault(r, 400, code, "AdApiFaultDetail")
        self.assertIn(member, r.json()["Errors"][0]["Message"])
        self.assertEqual((self.books.bookings, self.books.received), ([], []))

    def test_a_member_of_another_name(self) -> None:
        for member in ("conversionName", "msclkid", "TransactionId", "ConversionCurrency"):
            self.assert_unbound(conversion(**{member: "x"}), f"OfflineConversions[1].{member}")

    def test_a_member_of_another_type(self) -> None:
        wrong: dict[str, list[object]] = {
            "ConversionName": [7, True, ["Purchase"], {}],
            "ConversionValue": ["49.90", True, [], {}],
            "MicrosoftClickId": [12345],
            "ExternalAttributionCredit": ["0.5"],
        }
        for member, values in wrong.items():
            for value in values:
                self.assert_unbound(conversion(**{member: value}), f"OfflineConversions[1].{member}")

    def test_a_date_that_is_none(self) -> None:
        for text in (
            "yesterday",
            "",
            "2026-11-21",
            "2026-13-01T00:00:00Z",
            "2026-11-21T25:00:00Z",
            "2026-11-21 11:00:00Z",
        ):
            self.assert_unbound(conversion(ConversionTime=text), "OfflineConversions[1].ConversionTime", 113)

    def test_a_date_that_is_a_number(self) -> None:
        self.assert_unbound(conversion(ConversionTime=1795253400), "OfflineConversions[1].ConversionTime")

    def test_a_row_that_is_no_object(self) -> None:
        self.assert_unbound("Purchase", "OfflineConversions[1]")

    def test_an_adjustment_with_a_member_of_conversions(self) -> None:
        r = self.adjust(adjustment(ConversionValue=1))
        self.assert_fault(r, 400, 201, "AdApiFaultDetail")

    def test_rows_that_are_no_array(self) -> None:
        r = self.call("OfflineConversions/Apply", {"OfflineConversions": conversion()})
        self.assert_fault(r, 400, 201, "AdApiFaultDetail")

    def test_a_member_beside_the_rows(self) -> None:
        r = self.call("OfflineConversions/Apply", {"OfflineConversions": [conversion()], "TagId": "1"})
        self.assert_fault(r, 400, 201, "AdApiFaultDetail")

    def test_an_id_that_is_a_number(self) -> None:
        r = self.call("ConversionGoals/QueryByIds", {"ConversionGoalIds": [90010001], "ConversionGoalTypes": "Event"})
        self.assert_fault(r, 400, 201, "AdApiFaultDetail")

    def test_flags_are_one_string_with_commas(self) -> None:
        for types in ("OfflineConversion Event", ["OfflineConversion"], "OfflineConversion,Event", "Offline"):
            r = self.call("ConversionGoals/QueryByIds", {"ConversionGoalTypes": types})
            self.assert_fault(r, 400, 201, "AdApiFaultDetail")


class BodyTests(EmulatorTestCase):
    def send(self, body: bytes, content_type: str = "application/json") -> None:
        headers = {**self.headers, "Content-Type": content_type}
        self.r = self.session.post(f"{HOST}{CAMPAIGN}OfflineConversions/Apply", data=body, headers=headers)

    def test_a_body_that_is_not_json(self) -> None:
        for body in (
            b"{",
            b"\xff\xfe",
            b'{"OfflineConversions":[{"ConversionValue":NaN}]}',
            b"[" * 100_000,
            b"[]",
            b'"x"',
        ):
            self.send(body)
            self.assert_fault(self.r, 400, 201, "AdApiFaultDetail")

    def test_an_empty_or_null_body(self) -> None:
        for body in (b"", b"  ", b"null"):
            self.send(body)
            self.assert_fault(self.r, 400, 100, "AdApiFaultDetail")

    def test_a_body_of_another_type(self) -> None:
        self.send(json.dumps({"OfflineConversions": [conversion()]}).encode(), "text/plain")
        self.assert_fault(self.r, 400, 201, "AdApiFaultDetail")

    def test_a_body_beyond_eight_mebibytes(self) -> None:
        self.send(b" " * (8 * 1024 * 1024 + 1))
        self.assertEqual(self.r.status_code, 413)

    def test_numbers_that_are_huge(self) -> None:
        for number in (b"1e999999999", b"-1e400", b"9" * 400, b"9" * 5000):
            self.send(b'{"OfflineConversions":[{"ConversionValue":%s}]}' % number)
            self.assert_fault(self.r, 400, 201, "AdApiFaultDetail")

    def test_a_path_that_is_not_served(self) -> None:
        self.assertEqual(self.call("Campaigns", {}).status_code, 404)
        self.assertEqual(self.call("User/Query", {}, CUSTOMER, "PUT").status_code, 405)
