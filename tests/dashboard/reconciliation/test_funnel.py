"""The funnel: whatever the rows are, each conversion is in exactly one place."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

from django.test import SimpleTestCase
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dashboard.attribution import UploadDay, settles_at
from dashboard.reconciliation.funnel import Action, Funnel, Row, Stop, build
from forwarding.errors import PAUSED
from forwarding.models import Skip, Status
from forwarding.unattributed import REASONS, Gap

DAYS = [date(2026, 11, 17) + timedelta(days=number) for number in range(5)]
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
MONEY = st.integers(-(10**6), 10**6).map(lambda thousandths: Decimal(thousandths) / 1000)


def row(status: str = Status.DELIVERED, count: int = 1, *, day: date = DAYS[0], **fields: object) -> Row:
    """Return conversions of $50 each."""
    given = {"reason": "", "error": "", "with_click": True, "currency": "USD", "value": Decimal(50 * count)}
    return Row(day=day, status=status, count=count, **(given | fields))  # type: ignore[arg-type]


def sent(
    accepted: int, success: int, day: date = DAYS[0], /, now: datetime = NOW, before: int = 0, **reasons: int
) -> Funnel:
    """Return the funnel of conversions that were accepted on a day, of which Microsoft attributed some."""
    uploads = {day: UploadDay(day, accepted + before, success, reasons)}
    return build([row(count=accepted, day=day)], uploads, DAYS, now, read_at=now)


def match(funnel: Funnel) -> tuple[int, int]:
    return funnel.match.attributed, funnel.match.accepted


def losses(funnel: Funnel, group: int) -> list[tuple[str, int]]:
    return [(loss.title, loss.orders) for loss in funnel.groups[group].losses]


@st.composite
def rows(draw: st.DrawFn) -> Row:
    return Row(
        day=draw(st.sampled_from(DAYS)),
        status=draw(st.sampled_from(Status.values)),
        reason=draw(st.sampled_from([*Skip.values, "", "of a later release"])),
        error=draw(st.sampled_from(["", "5604", "5609", "5606", "Expired", "NobodyKnows", "0"])),
        with_click=draw(st.booleans()),
        currency=draw(st.sampled_from(["", "USD", "EUR"])),
        count=draw(st.integers(1, 50)),
        value=draw(MONEY),
    )


@st.composite
def upload_days(draw: st.DrawFn) -> dict[date, UploadDay]:
    found = draw(st.lists(st.sampled_from(DAYS), unique=True))
    counts = st.integers(0, 60)
    reasons = st.dictionaries(st.sampled_from([*REASONS, "NobodyKnows"]), counts)
    return {day: UploadDay(day, draw(counts), draw(counts), draw(reasons)) for day in found}


class TestAddingUp(SimpleTestCase):
    @settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(
        found=st.lists(rows(), max_size=15),
        uploads=upload_days(),
        read_at=st.none() | st.integers(-9, 9).map(lambda days: NOW + timedelta(days=days)),
        stop=st.sampled_from([None, Stop(PAUSED, Gap.RECOVERABLE, Action.RESUME)]),
        apart=st.booleans(),
    )
    def test_the_parts_add_up_to_the_total_whatever_the_rows_are(
        self, found: list[Row], uploads: dict[date, UploadDay], read_at: datetime | None, stop: Stop | None, apart: bool
    ) -> None:
        funnel = build(found, uploads, DAYS, NOW, read_at=read_at, stop=stop, is_told_apart=apart)
        orders = [step.orders for step in funnel.steps]
        lost = [group.orders for group in funnel.groups]
        self.assertEqual(orders[0], sum(one.count for one in found))
        self.assertEqual([a - b for a, b in pairwise(orders)], lost)
        self.assertTrue(all(loss.orders > 0 for group in funnel.groups for loss in group.losses))
        self.assertTrue(0 <= orders[4] <= orders[3])
        of_days = [(day.received, day.matched, day.forwarded, day.accepted) for day in funnel.days]
        self.assertEqual([sum(column) for column in zip(*of_days, strict=True)], orders[:4])
        self._assert_money_adds_up(found, funnel)

    def _assert_money_adds_up(self, found: list[Row], funnel: Funnel) -> None:
        for currency in ("USD", "EUR"):
            whole = sum((one.value for one in found if one.currency == currency), Decimal(0))
            ends = [funnel.steps[3].values or {}]
            ends += [loss.values or {} for group in funnel.groups[:3] for loss in group.losses]
            self.assertEqual(sum((values.get(currency, Decimal(0)) for values in ends), Decimal(0)), whole)


class TestSteps(SimpleTestCase):
    def test_each_conversion_stops_at_one_step(self) -> None:
        funnel = build(
            [
                row(Status.SKIPPED, 40, reason="no_identifier", with_click=False),
                row(Status.SKIPPED, 8, reason="no_consent"),
                row(Status.FAILED, 4, error="5604"),
                row(Status.PENDING, 2),
                row(Status.DELIVERED, 6),
                row(Status.DELIVERED, 1, with_click=False),
            ],
            {},
            DAYS,
            NOW,
        )
        self.assertEqual([step.orders for step in funnel.steps], [61, 21, 13, 7, 0])
        self.assertEqual(losses(funnel, 0), [("No Microsoft click ID", 40)])
        self.assertEqual(losses(funnel, 1), [("Ad consent refused", 8)])
        self.assertEqual(losses(funnel, 2), [("Click ID is not valid", 4), ("Waiting to be sent", 2)])
        self.assertEqual(funnel.without_click, 1)

    def test_what_can_be_sent_again_is_told_from_what_is_lost(self) -> None:
        found = [row(Status.FAILED, error=error) for error in ("5604", "5606", "5609", "Expired")]
        gaps = {loss.error: (loss.gap, loss.action) for loss in build(found, {}, DAYS, NOW).groups[2].losses}
        self.assertEqual(
            gaps,
            {
                "5604": (Gap.FIX, Action.LOGS),
                "5606": (Gap.RECOVERABLE, Action.SEND),
                "5609": (Gap.LOST, Action.LOGS),
                "Expired": (Gap.LOST, Action.LOGS),
            },
        )

    def test_what_waits_for_a_paused_account_is_recoverable(self) -> None:
        stop = Stop(PAUSED, Gap.RECOVERABLE, Action.RESUME)
        funnel = build([row(Status.PENDING, 2), row(Status.RETRYING)], {}, DAYS, NOW, stop=stop)
        self.assertEqual([(loss.title, loss.orders) for loss in funnel.recoverable], [("Forwarding is paused", 3)])


class TestAttribution(SimpleTestCase):
    def test_microsofts_reasons_stand_beside_what_it_attributed(self) -> None:
        funnel = sent(10, 7, NoMatchingClickFound=2)
        self.assertEqual(funnel.steps[4].orders, 7)
        self.assertEqual(losses(funnel, 3), [("No matching click found", 2), ("Not in Microsoft's report", 1)])
        self.assertEqual(match(funnel), (7, 10))

    def test_an_unsettled_day_waits_and_is_left_out_of_the_rate(self) -> None:
        funnel = sent(10, 4, DAYS[3])
        self.assertEqual(losses(funnel, 3), [("Still settling", 6)])
        self.assertEqual((funnel.steps[4].orders, match(funnel)), (4, (0, 0)))

    def test_a_day_is_settled_48_hours_after_it_ends_and_not_before(self) -> None:
        self.assertEqual(settles_at(date(2026, 11, 18)), datetime(2026, 11, 21, tzinfo=UTC))
        for wait, rate in ((timedelta(0), (7, 10)), (timedelta(microseconds=-1), (0, 0))):
            self.assertEqual(match(sent(10, 7, DAYS[1], now=settles_at(DAYS[1]) + wait)), rate)

    def test_a_settled_day_that_was_not_read_since_is_left_out(self) -> None:
        uploads = {DAYS[0]: UploadDay(DAYS[0], 10, 7)}
        for read_at in (None, settles_at(DAYS[0]) - timedelta(seconds=1)):
            funnel = build([row(count=10)], uploads, DAYS, NOW, read_at=read_at)
            self.assertEqual(losses(funnel, 3), [("Not read from Microsoft yet", 3)])
            self.assertEqual(match(funnel), (0, 0))

    def test_corrections_and_repeats_in_the_report_are_no_lost_orders(self) -> None:
        funnel = sent(10, 12, DuplicateConversionKey=3, AdjustmentOriginalNotFound=1)
        self.assertEqual((funnel.steps[4].orders, losses(funnel, 3), match(funnel)), (10, [], (10, 10)))

    def test_orders_from_before_the_period_are_not_counted_into_it(self) -> None:
        funnel = sent(10, 13, before=4, NoMatchingClickFound=1)
        self.assertEqual((funnel.steps[3].orders, funnel.steps[4].orders, funnel.beyond), (10, 9, 4))

    def test_nothing_is_said_where_other_conversions_went_to_the_same_goal(self) -> None:
        uploads = {DAYS[0]: UploadDay(DAYS[0], 10, 7)}
        funnel = build([row(count=10)], uploads, DAYS, NOW, read_at=NOW, is_told_apart=False)
        self.assertEqual((funnel.steps[4].orders, losses(funnel, 3)), (0, [("Not told apart by Microsoft", 10)]))


class TestSettling(SimpleTestCase):
    """Nov 20 and 21 still settle when the report is read at noon of Nov 21; a conversion is worth $50."""

    def test_what_settles_is_worth_what_was_accepted_while_none_of_it_is_attributed(self) -> None:
        uploads = {DAYS[3]: UploadDay(DAYS[3], 2), DAYS[0]: UploadDay(DAYS[0], 9)}
        funnel = build([row(count=2, day=DAYS[3]), row(count=9)], uploads, DAYS, NOW, read_at=NOW)
        settling = funnel.groups[3].losses[1]
        self.assertEqual((settling.title, settling.orders), ("Still settling", 2))
        self.assertEqual((settling.values, settling.is_at_most), ({"USD": Decimal(100)}, False))

    def test_it_is_worth_that_at_most_once_some_are_attributed(self) -> None:
        [settling] = sent(10, 4, DAYS[3]).groups[3].losses
        self.assertEqual((settling.orders, settling.values, settling.is_at_most), (6, {"USD": Decimal(500)}, True))

    def test_nobody_knows_it_where_conversions_of_an_earlier_day_went_out_too(self) -> None:
        uploads = {DAYS[3]: UploadDay(DAYS[3], 3)}
        funnel = build([row(count=2, day=DAYS[3]), row()], uploads, DAYS, NOW, read_at=NOW)
        self.assertEqual([(loss.orders, loss.values) for loss in funnel.groups[3].losses], [(3, None)])

    def test_what_is_known_so_far_stands_beside_the_rate_and_not_in_it(self) -> None:
        uploads = {DAYS[0]: UploadDay(DAYS[0], 8, 6), DAYS[3]: UploadDay(DAYS[3], 10, 4)}
        found = build([row(count=8), row(count=10, day=DAYS[3])], uploads, DAYS, NOW, read_at=NOW).match
        self.assertEqual((found.attributed, found.accepted, found.until), (6, 8, DAYS[0]))
        self.assertEqual((found.attributed_so_far, found.settling), (4, 10))
