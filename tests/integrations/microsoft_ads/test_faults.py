"""Microsoft's documented refusals of a whole request, in all three shapes."""

from django.test import SimpleTestCase

from integrations.microsoft_ads.errors import Fault, MicrosoftAdsError, WhatToDo
from tests.integrations.microsoft_ads.canned import apply_answered

AD_API_FAULT = {
    "TrackingId": "ba7d7a7c",
    "Type": "AdApiFaultDetail",
    "Errors": [{"Code": 117, "ErrorCode": "CallRateExceeded", "Message": "Slow down.", "Detail": None}],
}
API_FAULT_DETAIL = {
    "TrackingId": "ba7d7a7c",
    "Type": "ApiFaultDetail",
    "BatchErrors": [],
    "OperationErrors": [{"Code": 1008, "ErrorCode": "CampaignServiceInvalidAccountStatus", "Message": "Paused."}],
}
API_FAULT = {
    "TrackingId": "ba7d7a7c",
    "Type": "ApiFault",
    "OperationErrors": [{"Code": 1001, "Message": "No.", "Details": "Work account wanted"}],
}


def fault_of(body: object, status: int = 400, headers: dict[str, str] | None = None) -> MicrosoftAdsError:
    """Return the error of a batch answered with a fault."""
    error = apply_answered(body, status, headers)
    assert isinstance(error, Fault), error
    return error


class FaultTests(SimpleTestCase):
    def test_every_shape_is_read(self) -> None:
        shapes = {117: (AD_API_FAULT, WhatToDo.THROTTLE), 1008: (API_FAULT_DETAIL, WhatToDo.ACCOUNT)}
        for code, (body, what) in {**shapes, 1001: (API_FAULT, WhatToDo.RECONNECT)}.items():
            with self.subTest(code):
                error = fault_of(body)
                self.assertEqual((error.code, error.what_to_do, error.outcome_unknown), (code, what, False))

    def test_a_fault_is_a_fault_whatever_its_status(self) -> None:
        for status in (200, 400, 401, 403, 429, 500, 503):
            self.assertIs(fault_of(API_FAULT_DETAIL, status).what_to_do, WhatToDo.ACCOUNT)

    def test_a_fault_beside_an_empty_list_is_a_fault(self) -> None:
        self.assertEqual(fault_of({"PartialErrors": [], **AD_API_FAULT}, 200).code, 117)

    def test_items_of_an_all_or_nothing_failure_are_read(self) -> None:
        body = {**API_FAULT_DETAIL, "OperationErrors": None, "BatchErrors": [{"Index": 3, "Code": 5609}]}
        self.assertIs(fault_of(body).what_to_do, WhatToDo.EXPIRED)

    def test_of_several_errors_the_first_to_act_on_counts(self) -> None:
        errors = [{"Code": 0, "Message": "a"}, {"Code": 106, "Message": "b"}, {"Code": 117, "Message": "c"}]
        for order in (errors, errors[::-1]):
            self.assertEqual(fault_of({"Errors": order}).code, 106)

    def test_its_words_and_tracking_id_are_kept(self) -> None:
        error = fault_of(API_FAULT, 500)
        self.assertEqual(str(error), "1001: No.: Work account wanted [HTTP 500, TrackingId ba7d7a7c]")

    def test_the_header_names_the_tracking_id_first(self) -> None:
        self.assertEqual(fault_of(API_FAULT, headers={"TrackingId": "from-header"}).tracking_id, "from-header")

    def test_their_own_failure_may_have_come_halfway(self) -> None:
        error = fault_of({"Errors": [{"Code": 0, "ErrorCode": "InternalError", "Message": "?"}]}, 500)
        self.assertEqual((error.what_to_do, error.outcome_unknown), (WhatToDo.RETRY, True))

    def test_an_unknown_code_is_unknown_unless_its_status_tells(self) -> None:
        body = {"OperationErrors": [{"Code": 987_654, "ErrorCode": "SpelledAnew", "Message": "?"}]}
        self.assertIs(fault_of(body, 400).what_to_do, WhatToDo.UNKNOWN)
        self.assertIs(fault_of(body, 429).what_to_do, WhatToDo.THROTTLE)

    def test_a_fault_without_a_reason_goes_by_its_status(self) -> None:
        body = {"Type": "ApiFaultDetail", "OperationErrors": [], "BatchErrors": []}
        self.assertIs(fault_of(body, 403).what_to_do, WhatToDo.PERMISSION)

    def test_a_fault_of_the_wrong_shape_is_no_fault(self) -> None:
        for errors in (["x"], [{"Code": "117"}], [{"Code": 117, "Message": 5}]):
            error = apply_answered({"Errors": errors}, 200)
            self.assertEqual(type(error).__name__, "UnexpectedAnswer")


class RetryAfterTests(SimpleTestCase):
    def test_microsofts_wish_is_passed_on(self) -> None:
        self.assertEqual(fault_of(AD_API_FAULT, 429, {"Retry-After": "90"}).retry_after_seconds, 90)

    def test_a_date_is_measured_against_their_clock(self) -> None:
        headers = {"Date": "Sat, 21 Nov 2026 09:30:00 GMT", "Retry-After": "Sat, 21 Nov 2026 09:32:00 GMT"}
        self.assertEqual(fault_of(AD_API_FAULT, 429, headers).retry_after_seconds, 120)

    def test_it_is_a_day_at_most_and_never_negative(self) -> None:
        self.assertEqual(fault_of(AD_API_FAULT, 429, {"Retry-After": "9" * 40}).retry_after_seconds, 86_400)
        past = {"Date": "Sat, 21 Nov 2026 09:30:00 GMT", "Retry-After": "Sat, 21 Nov 2026 09:00:00 GMT"}
        self.assertEqual(fault_of(AD_API_FAULT, 429, past).retry_after_seconds, 0)

    def test_nonsense_is_no_wish(self) -> None:
        for wish in ("", "soon", "-5", "1.5", "²", "Sat, 21 Nov 2026 09:32:00 GMT"):
            self.assertIsNone(fault_of(AD_API_FAULT, 429, {"Retry-After": wish}).retry_after_seconds)
