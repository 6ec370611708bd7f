"""The judge is judged: a right story passes, and each violation, planted alone, is named."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from django.test import SimpleTestCase

from tests.chaos.ledger import Correction, Expected, Fact, Lane, Ledger, Order, Word
from tests.chaos.verdict import Booked, Evidence, Received, Row, resumptions, violations

NOON = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
KEY = ("138204417", "Purchase", "f894f652ea334e739002f7167ab8f8e3", "2026-11-21T10:00:00Z")
LATER = (*KEY[:3], "2026-11-21T10:00:01Z")
AT = "2026-11-21T11:00:00Z"

EXPECTED = Expected("HP-1", *KEY[:3], "USD", Decimal("29.90"))
CONVERSION = Row(1, "conversion", "delivered", "", KEY, "HP-1", "", Decimal("29.900"), False, None)
RESTATEMENT = Row(2, "restate", "delivered", "", KEY, "HP-1", AT, None, False, 1)
BOOKED = Booked(KEY, "USD", Decimal("29.9"), Decimal("29.9"), False, NOON)
SENT, ADJUSTED = Received(KEY, "", "booked"), Received(KEY, AT, "applied")
RIGHT = Evidence(
    expected=[EXPECTED],
    facts=[Fact("HP-1-0", acked=True, accepted=1)],
    stored={"HP-1-0"},
    rows=[CONVERSION, RESTATEMENT],
    booked=[BOOKED],
    received=[SENT, ADJUSTED],
    planned_refusals={"InternalError"},
    untold=set(),
)


class VerdictTests(SimpleTestCase):
    def assert_named(self, evidence: Evidence, *kinds: str) -> None:
        self.assertEqual(sorted({sentence.partition(":")[0] for sentence in violations(evidence)}), sorted(kinds))

    def test_a_right_story_passes(self) -> None:
        self.assert_named(RIGHT)

    def test_what_was_answered_has_to_be_stored(self) -> None:
        self.assert_named(replace(RIGHT, stored=set()), "lost")

    def test_what_was_never_answered_is_named(self) -> None:
        self.assert_named(replace(RIGHT, facts=[Fact("HP-1-0")]), "never answered")

    def test_one_fact_is_accepted_once(self) -> None:
        self.assert_named(replace(RIGHT, facts=[Fact("HP-1-0", acked=True, accepted=2)]), "stored twice")

    def test_a_lost_conversion_is_named_though_we_call_it_delivered(self) -> None:
        self.assert_named(replace(RIGHT, booked=[]), "lost", "wrong sum", "called delivered and not booked")

    def test_a_second_booking_is_named(self) -> None:
        twice = replace(RIGHT, booked=[BOOKED, replace(BOOKED, key=LATER)])
        self.assert_named(twice, "counted too often", "wrong sum", "booked and not called delivered")

    def test_an_order_sent_under_two_keys_is_named(self) -> None:
        again = replace(RIGHT, received=[SENT, replace(SENT, key=LATER), ADJUSTED])
        self.assert_named(again, "sent under 2 keys")

    def test_another_value_is_named(self) -> None:
        wrong = replace(BOOKED, value=Decimal("29.89"))
        self.assert_named(replace(RIGHT, booked=[wrong]), "wrong value", "wrong sum")

    def test_another_currency_is_named(self) -> None:
        self.assert_named(replace(RIGHT, booked=[replace(BOOKED, currency="EUR")]), "wrong value", "wrong sum")

    def test_what_counts_though_nothing_should_is_named(self) -> None:
        retracted = replace(RIGHT, expected=[replace(EXPECTED, value=None)])
        self.assert_named(retracted, "counted too often", "wrong sum")

    def test_a_retracted_booking_counts_nothing(self) -> None:
        rows = [replace(CONVERSION, is_retracted=True), replace(RESTATEMENT, kind="retract")]
        booked = [replace(BOOKED, is_retracted=True, value=Decimal(0))]
        self.assert_named(replace(RIGHT, expected=[replace(EXPECTED, value=None)], rows=rows, booked=booked))

    def test_a_row_that_is_not_done_is_named(self) -> None:
        rows = [CONVERSION, RESTATEMENT, replace(RESTATEMENT, pk=3, status="retrying")]
        self.assert_named(replace(RIGHT, rows=rows), "not done")

    def test_a_refund_of_an_order_nobody_told_of_may_wait(self) -> None:
        refund = replace(RESTATEMENT, pk=3, status="pending", order="HP-2", original=None)
        self.assert_named(replace(RIGHT, rows=[*RIGHT.rows, refund], untold={"HP-2"}))
        self.assert_named(replace(RIGHT, rows=[*RIGHT.rows, refund]), "not done")

    def test_a_correction_that_never_arrived_is_named(self) -> None:
        self.assert_named(replace(RIGHT, received=[SENT]), "called delivered and not applied")

    def test_a_correction_that_we_do_not_know_of_is_named(self) -> None:
        self.assert_named(replace(RIGHT, rows=[CONVERSION]), "applied and not called delivered")

    def test_a_conversion_that_shows_another_value_than_it_has_is_named(self) -> None:
        rows = [replace(CONVERSION, restated_value=None), RESTATEMENT]
        self.assert_named(replace(RIGHT, rows=rows), "another fate")

    def test_a_refusal_that_nobody_asked_for_is_named(self) -> None:
        for outcome in ("OfflineConversionNameInvalid", "AdjustmentOriginalNotFound", "ConversionAlreadyRetracted"):
            other = Received(KEY, "2026-11-21T11:00:05Z", outcome)
            self.assert_named(replace(RIGHT, received=[*RIGHT.received, other]), "refused or set aside")

    def test_a_repetition_and_a_planned_refusal_are_right(self) -> None:
        outcomes = ("DuplicateConversionKey", "InternalError", "ConversionAlreadyRetracted")
        again = [Received(KEY, AT, outcome) for outcome in outcomes]
        self.assert_named(replace(RIGHT, received=[*RIGHT.received, *again]))

    def test_delivery_resumes_with_the_first_booking_after_a_hit(self) -> None:
        seconds = [NOON + timedelta(seconds=second) for second in range(10)]
        self.assertEqual(resumptions([seconds[1], seconds[5]], [seconds[4], seconds[0]], seconds[9]), [3.0, 4.0])


class LedgerTests(SimpleTestCase):
    """The model's own sums, told by hand."""

    def worth(self, *said: tuple[Word, str | None], by_browser: str | None = None) -> Decimal | None:
        order = Order("HP-1", (Lane("138204417", "Purchase", "USD"),), "click", "USD", by_backend=Decimal("79.99"))
        order.by_browser = Decimal(by_browser) if by_browser else None
        for second, (word, value) in enumerate(said):
            at = NOON + timedelta(seconds=second)
            order.corrections.append(Correction(Fact("x"), word, Decimal(value) if value else None, at))
        return order.worth()

    def test_the_backends_word_counts_more(self) -> None:
        self.assertEqual(self.worth(by_browser="75.00"), Decimal("79.99"))

    def test_refunds_take_away_and_new_totals_replace(self) -> None:
        self.assertEqual(self.worth((Word.REFUND, "30.00")), Decimal("49.99"))
        self.assertEqual(self.worth((Word.RESTATE, "60.00"), (Word.REFUND, "30.00")), Decimal("30.00"))
        self.assertEqual(self.worth((Word.REFUND, "30.00"), (Word.RESTATE, "60.00")), Decimal("60.00"))

    def test_what_was_given_back_whole_counts_nothing(self) -> None:
        for said in ((Word.REFUND, None), (Word.REFUND, "79.99"), (Word.RETRACT, None)):
            self.assertIsNone(self.worth(said), said)
            self.assertIsNone(self.worth(said, (Word.RESTATE, "60.00")), said)

    def test_an_order_is_expected_under_each_of_its_goals(self) -> None:
        ledger = Ledger()
        lanes = (Lane("1", "Purchase", "USD"), Lane("2", "Quote", "CAD", fixed=Decimal(40)))
        ledger.open(Order("HP-1", lanes, "click", "EUR", by_backend=Decimal("79.99")))
        ledger.open(Order("HP-2", lanes[:1], "other", "EUR"))
        expected = [(one.goal, one.value, one.currency) for one in ledger.expected()]
        self.assertEqual(
            expected, [("Purchase", Decimal("79.99"), "EUR"), ("Quote", Decimal(40), "CAD"), ("Purchase", None, "EUR")]
        )
        self.assertEqual(ledger.untold(), {"HP-2"})
