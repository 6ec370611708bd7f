"""Whatever is no answer delivers nothing: the same bytes go out again, and Microsoft has booked the conversion once."""

from unittest import mock

from django.utils import timezone

from forwarding.errors import words_of
from forwarding.models import Attempt, Delivery, Status
from forwarding.tasks import deliver
from integrations import microsoft as seam
from integrations.models import AdAccount
from tests.integrations.microsoft_ads.test_nonsense_answers import NONSENSE
from tests.road.road import RoadTestCase, purchase
from tests.support.peer import BODY, HEAD, WHOLE, Behaviour, answering, peer, resetting

APPLY = "OfflineConversions/Apply"
# What arrives whole, by its status and body.
WHOLE_ANSWERS: dict[str, tuple[int, str]] = {
    **{name: (200, body.decode()) for name, body in NONSENSE.items() if body.isascii()},
    "created": (201, '{"PartialErrors":[]}'),
    "no content": (204, ""),
    "elsewhere": (302, ""),
    "not modified": (304, '{"PartialErrors":[]}'),
    "a success that is a failure": (500, '{"PartialErrors":[]}'),
    "a gateway's page": (502, "<html>Bad Gateway</html>"),
    "away": (503, ""),
    "too late": (504, "<html>Gateway Timeout</html>"),
    "somebody else's trouble": (500, '{"error":{"code":"InternalServerError"}}'),
}
# What the emulator does after it has booked the conversion.
AFTER_BOOKING = ("close_after", "truncated", "html", "empty", "wrong_shape", "index_out_of_range")
# What only a real socket shows. The first piece promises more, or less, than follows.
ON_A_SOCKET: dict[str, Behaviour] = {
    "a length too long": answering(HEAD + b"Content-Length: 500\r\n\r\n" + BODY),
    "a length too short": answering(HEAD + b"Content-Length: 10\r\n\r\n" + BODY),
    "no number for a length": answering(HEAD + b"Content-Length: many\r\n\r\n" + BODY[:-2]),
    "chunks that do not end": answering(HEAD + b"Transfer-Encoding: chunked\r\n\r\n14\r\n" + BODY),
    "half a head": answering(WHOLE[:30]),
    "no HTTP": answering(b'{"PartialErrors":[]}'),
    "not encoded as it says": answering(HEAD + b"Content-Encoding: gzip\r\nContent-Length: 20\r\n\r\n" + BODY),
    "a reset": resetting,
}


class UnknownTestCase(RoadTestCase):
    def assert_unknown(self) -> Delivery:
        [row] = Delivery.objects.select_related("account__connection").exclude(status=Status.DELIVERED)
        self.assertEqual((row.status, row.delivered_at, row.attempts), (Status.RETRYING, None, 1))
        [attempt] = Attempt.objects.filter(delivery=row)
        self.assertEqual(attempt.outcome, Attempt.Outcome.UNKNOWN)
        return row

    def send_again(self) -> None:
        AdAccount.objects.update(held_until=None)
        Delivery.objects.filter(status=Status.RETRYING).update(next_attempt_at=timezone.now())
        self.go()
        self.assertEqual(set(Delivery.objects.values_list("status", flat=True)), {Status.DELIVERED})


class TestWholeAnswers(UnknownTestCase):
    def test_none_of_them_is_taken_for_acceptance(self) -> None:
        self.assertGreater(len(WHOLE_ANSWERS), 40)
        for name, (status, body) in WHOLE_ANSWERS.items():
            with self.subTest(name):
                self.post(purchase())
                self.microsoft.fault(APPLY, str(status), body=body)
                self.go()
                self.assert_unknown()
                self.send_again()
        self.assertEqual(len(self.microsoft.bookings), len(WHOLE_ANSWERS))

    def test_a_body_of_nine_megabytes_is_not_read_to_its_end(self) -> None:
        self.post(purchase())
        self.microsoft.fault(APPLY, "200", body="later")
        self.microsoft.faults.waiting()[0].body = '{"PartialErrors":[]' + " " * 9 * 1024 * 1024 + "}"
        self.go()
        self.assertIn("larger than 8 MiB", self.assert_unknown().error_message)


class TestBrokenAnswers(UnknownTestCase):
    def test_what_was_booked_before_the_answer_broke_is_sent_again_byte_for_byte_and_booked_once(self) -> None:
        for kind in AFTER_BOOKING:
            with self.subTest(kind):
                self.post(purchase())
                self.microsoft.fault(APPLY, kind)
                self.go()
                self.assert_unknown()
                self.send_again()
                first, second = self.microsoft.calls(APPLY)[-2:]
                self.assertEqual(first.body_sha256, second.body_sha256)
        self.assertEqual(len(self.microsoft.bookings), len(AFTER_BOOKING))

    def test_an_answer_after_the_deadline_is_none(self) -> None:
        self.post(purchase())
        self.microsoft.fault(APPLY, "delay", seconds=61)
        self.go()
        self.assertEqual(self.assert_unknown().error_symbol, "NoAnswer")

    def test_what_breaks_on_a_socket_is_none(self) -> None:
        for name, behaviour in ON_A_SOCKET.items():
            with self.subTest(name):
                self.post(purchase())
                self.plan()
                with peer(behaviour) as address, self.settings(MICROSOFT_CAMPAIGN_URL=address):
                    self.call_over_the_network()
                self.assert_unknown()
                self.send_again()

    def plan(self) -> None:
        """Let everything happen but the call."""
        AdAccount.objects.update(paused_at=timezone.now())
        self.go()
        AdAccount.objects.update(paused_at=None)

    def call_over_the_network(self) -> None:
        seam.forget_sessions()
        with mock.patch.object(seam, "transport_adapter", return_value=None):
            deliver(self.account.pk)
        seam.forget_sessions()


class TestWords(UnknownTestCase):
    def told_after(self, kind: str, error_code: str = "InternalError") -> str:
        self.post(purchase())
        self.microsoft.fault(APPLY, kind, error_code=error_code)
        return self.told()

    def told(self) -> str:
        self.go()
        words = words_of(Delivery.objects.select_related("account__connection").get())
        assert words is not None
        return words.title

    def test_a_plain_503_is_an_answer_and_said_to_be_one(self) -> None:
        self.assertEqual(self.told_after("503"), "Microsoft answered with an error")

    def test_silence_is_silence(self) -> None:
        self.assertEqual(self.told_after("close_after"), "Microsoft did not answer")

    def test_nonsense_is_called_so(self) -> None:
        self.assertEqual(self.told_after("html"), "Microsoft's answer was not understood")

    def test_microsofts_own_name_for_its_trouble_goes_first(self) -> None:
        said = self.told_after("fault_code", "CampaignServiceSystemInReadOnlyMode")
        self.assertEqual(said, "Microsoft had a problem")

    def test_a_sign_in_that_is_away_is_not_microsofts_campaign_service(self) -> None:
        self.microsoft.expire_tokens()
        self.microsoft.fault("token", "503", times=2)  # the goals are read, too
        self.post(purchase())
        self.assertEqual(self.told(), "Microsoft's sign-in did not answer")
        self.assertEqual(Attempt.objects.get().outcome, Attempt.Outcome.RETRY)


class TestWithoutAClickId(UnknownTestCase):
    def buy(self, fault: str) -> Delivery:
        AdAccount.objects.update(enhanced_conversions=True)
        self.post(purchase(msclkid=None, user_data={"email": "jane.doe@contoso.com"}), purchase())
        self.microsoft.fault(APPLY, fault)
        self.go()
        return Delivery.objects.get(msclkid="")

    def test_an_unknown_outcome_marks_it_as_possibly_counted_twice(self) -> None:
        self.assertTrue(self.buy("close_after").possibly_twice)
        self.assertFalse(Delivery.objects.exclude(msclkid="").get().possibly_twice)

    def test_a_call_that_took_nothing_does_not(self) -> None:
        self.assertFalse(self.buy("throttled").possibly_twice)
