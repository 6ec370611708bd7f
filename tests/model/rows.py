"""The product's rows at one moment, and what has to be true of them whatever happened before."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from decimal import Decimal

from forwarding.models import Attempt, DailyCount, Delivery, Upload
from ingest.models import Adjustment, Event
from tests.model.ledger import EventKey, Fate, Key, Lane, Ledger, Standing

LIVE = {"pending", "retrying"}
# What a conversion that stands for its order may become before it is sent, and may come back from.
SET_ASIDE = {"cancelled", "unconfirmed", "called_off"}


@dataclass(frozen=True)
class Row:
    """A delivery, by its columns; the event by what its shop calls it."""

    pk: int
    account_id: int
    event: EventKey
    kind: str
    original_id: int | None
    dedupe_key: str
    status: str
    skip_reason: str
    hold_reason: str
    attempts: int
    next_attempt_at: datetime | None
    expires_at: datetime | None
    goal_id: str
    goal_name: str
    conversion_time: str
    adjustment_time: str
    msclkid: str
    email_sha256: str
    phone_sha256: str
    value: Decimal | None
    currency: str
    restated_value: Decimal | None
    retracted_at: datetime | None
    possibly_twice: bool
    error_code: int | None
    error_symbol: str
    created_at: datetime

    @property
    def is_conversion(self) -> bool:
        """Say whether it is about an order itself, and not a correction of one."""
        return self.kind == "conversion"

    @property
    def is_said_later(self) -> bool:
        """Say whether it came of an adjustment, a person's hand or a refund that has its own row, and is one more."""
        return self.dedupe_key.startswith(("adj:", "hand:", "refund-of:"))

    @property
    def counted_value(self) -> Decimal:
        """What Microsoft counts by what the product knows."""
        if self.retracted_at is not None:
            return Decimal(0)
        return (self.value if self.restated_value is None else self.restated_value) or Decimal(0)


_COLUMNS = (
    "pk", "account_id", "event__site_id", "event__event_id", "kind", "original_id", "dedupe_key", "status",
    "skip_reason", "hold_reason", "attempts", "next_attempt_at", "expires_at", "goal__goal_id", "goal_name",
    "conversion_time", "adjustment_time", "msclkid", "email_sha256", "phone_sha256", "value", "currency",
    "restated_value", "retracted_at", "possibly_twice", "error_code", "error_symbol", "created_at",
)  # fmt: skip

Rows = Mapping[int, Row]


def read_rows() -> dict[int, Row]:
    """Read every delivery."""
    found = Delivery.objects.order_by("pk").values_list(*_COLUMNS)
    return {pk: Row(pk, account, (site, event), *rest) for pk, account, site, event, *rest in found}


def read_standing(rows: Rows) -> dict[Key, Standing]:
    """Say of every conversion how it stands: what was delivered, is on its way or was sent in the dark may be there."""
    arrived = {row.pk for row in rows.values() if row.status == "delivered"}
    arrived.update(Attempt.objects.filter(outcome=Attempt.Outcome.UNKNOWN).values_list("delivery_id", flat=True))
    for ended, takeovers, listed in Upload.objects.values_list("finished_at", "takeovers", "delivery_ids"):
        arrived.update(listed if ended is None or takeovers else ())
    return {
        (row.account_id, row.dedupe_key): Standing(
            row.pk in arrived, row.status == "failed" or row.skip_reason == "called_off", row.status == "skipped"
        )
        for row in rows.values()
        if row.is_conversion
    }


# Between two moments


def check_history(before: Rows, after: Rows) -> None:
    """Nothing vanishes, states change along the allowed ways, attempts never fall, the delivered stays (I4, I18)."""
    for pk, old in before.items():
        new = after[pk]
        assert new.attempts >= old.attempts, f"attempts fell: {new}"
        assert _may_become(old, new), f"{old} became {new}"
        if old.status == "delivered":
            corrected = replace(
                old,
                currency=old.currency or new.currency,
                restated_value=new.restated_value,
                retracted_at=new.retracted_at,
            )
            assert new == corrected, f"{old} became {new}"
            assert old.retracted_at in (None, new.retracted_at), f"{old} counts again: {new}"


def _may_become(old: Row, new: Row) -> bool:
    if old.status == new.status:
        return True
    if old.status in LIVE:
        return new.status in LIVE or new.status in ("delivered", "failed", "skipped")
    if old.status == "skipped":
        return new.status in LIVE and (old.skip_reason in SET_ASIDE or not old.is_conversion)
    # Once its goal is only called otherwise, or when a person tries it again; refunded, there is no need to, and after
    # consent was refused for its order nobody may.
    is_needless = new.skip_reason in ("cancelled", "no_consent") or (new.status == "skipped" and not old.is_conversion)
    return old.status == "failed" and (new.status == "pending" or is_needless)


# At any moment


def check_states(rows: Rows) -> None:
    """What lives has its next moment, what is over has none."""
    for row in rows.values():
        assert (row.next_attempt_at is not None) == (row.status in LIVE), row
        assert bool(row.skip_reason) == (row.status == "skipped"), row
        assert not row.hold_reason or row.status in LIVE or row.skip_reason == "cancelled", row


def check_claims(rows: Rows) -> None:
    """One open upload per account and operation, each with rows of its own that still live (I5)."""
    listed: set[int] = set()
    lanes: set[tuple[int, str]] = set()
    opened = Upload.objects.filter(finished_at=None).values_list("account_id", "operation", "delivery_ids")
    for account, operation, delivery_ids in opened:
        assert (account, operation) not in lanes, "two open uploads of one account and operation"
        lanes.add((account, operation))
        for pk in delivery_ids:
            assert pk not in listed, f"delivery {pk} is listed twice"
            assert rows[pk].account_id == account, f"another account's delivery: {rows[pk]}"
            assert rows[pk].status in LIVE, f"an open upload lists what is over: {rows[pk]}"
            assert rows[pk].is_conversion == (operation == "conversions"), f"{rows[pk]} travels with {operation}"
            listed.add(pk)


def check_events(ledger: Ledger) -> None:
    """What was acknowledged is there, unchanged, and nothing else is (I1, I2, I3)."""
    columns = (
        "name",
        "occurred_at",
        "source",
        "value",
        "currency",
        "transaction_id",
        "msclkid",
        "email_sha256",
        "consent",
    )
    found = Event.objects.values_list("site_id", "event_id", *columns)
    stored = {(site, event): tuple(said) for site, event, *said in found}
    assert stored.keys() == ledger.facts.keys(), f"{set(stored) ^ set(ledger.facts)} is only on one side"
    for key, fact in ledger.facts.items():
        is_kept = fact.consent != "denied"
        person = (fact.click if is_kept else "", fact.email_sha256 if is_kept else "")
        said = (fact.name, fact.at, fact.source, fact.value, fact.currency, fact.order, *person, fact.consent)
        assert stored[key] == said, f"{stored[key]} was {said}"
    kept = set(Adjustment.objects.values_list("site_id", "adjustment_id", "value", "occurred_at"))
    assert kept == {(one.shop, one.adjustment_id, one.total, one.at) for one in ledger.adjustments}


def check_fates(rows: Rows, ledger: Ledger) -> None:
    """Every planned event has one row in each account of its site, for the right reason (I1, I2, I19)."""
    own = [row for row in rows.values() if not row.is_said_later]
    assert Counter((row.event, row.account_id) for row in own) == Counter(ledger.fates.keys()), "not one row each"
    for row in own:
        fate = ledger.fates[row.event, row.account_id]
        assert _fits(row, fate), f"expected {fate}: {row}"


def _fits(row: Row, fate: Fate) -> bool:
    if not fate.why:
        return row.is_conversion and (not row.skip_reason or row.skip_reason in SET_ASIDE)
    if fate.why in ("refund", "order"):
        return not row.is_conversion
    return row.skip_reason == fate.why


def check_lanes(rows: Rows, ledger: Ledger) -> None:
    """What was not sent is worth what the ledger says, for the right goal; what is worth nothing waits not (I11)."""
    standing = read_standing(rows)
    by_key = {(row.account_id, row.dedupe_key): row for row in rows.values() if row.is_conversion}
    corrections = [row for row in rows.values() if not row.is_conversion]
    corrected_later = {
        row.original_id for row in corrections if row.status != "skipped" or row.skip_reason == "too_old"
    }
    for lane in ledger.lanes.values():
        row, its, worth = by_key[lane.key], standing[lane.key], lane.worth()
        assert (row.event, row.goal_id) == (lane.fact.key, lane.goal_id), f"{lane}: {row}"
        is_final = its.is_given_up or row.skip_reason == "unconfirmed"
        if its.may_have_arrived or is_final or lane.is_vague or row.pk in corrected_later:
            continue
        assert (row.skip_reason == "cancelled") == worth.is_retracted, f"{worth}: {row}"
        if not worth.is_retracted:
            assert (row.value, row.currency) == (worth.value, worth.currency), f"{worth}: {row}"


def check_counts(rows: Rows) -> None:
    """The roll-up equals a count of the conversions."""
    sums: dict[tuple[int, date, str, str, str], tuple[int, Decimal]] = defaultdict(lambda: (0, Decimal(0)))
    for row in rows.values():
        if row.is_conversion:
            day, name = row.created_at.astimezone(UTC).date(), row.skip_reason or row.goal_name
            key = (row.account_id, day, name, row.status, row.currency)
            count, value = sums[key]
            sums[key] = count + 1, value + row.counted_value
    stored: dict[tuple[object, ...], tuple[int, Decimal]] = defaultdict(lambda: (0, Decimal(0)))
    columns = ("account_id", "day", "goal_name", "status", "currency", "count", "value")
    for *key, count, value in DailyCount.objects.values_list(*columns):  # SQLite would add up in binary fractions
        known, worth = stored[tuple(key)]
        stored[tuple(key)] = known + count, worth + value
    kept = {key: said for key, said in stored.items() if any(said)}
    assert kept == sums, f"counted {kept}, there are {dict(sums)}"


def row_of(lane: Lane, rows: Rows) -> Row:
    """Return the conversion of a lane."""
    [row] = [row for row in rows.values() if (row.account_id, row.dedupe_key) == lane.key and row.is_conversion]
    return row
