"""From the bytes of a request to rows, as a pure function: no database, no request object, no clock of its own.

A body that cannot be read at all raises `BodyRefused`. Otherwise every item of the batch becomes an `Item`, in the
order it was sent: a row, or the reasons why there is none. Whatever a column could refuse is refused here, so that one
bad event can never fail the statement that stores its neighbours.
"""

import hashlib
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from convultra.problems import FieldError
from ingest import hashing, members
from ingest.click_ids import is_click_id, is_test_click_id
from ingest.decoding import BodyRefused, body_malformed, decode_body, decode_item
from ingest.models import REFUND_EVENT, AdjustmentType, Consent, Source
from ingest.refusals import Complaints, fault

KIBIBYTE = 1024


@dataclass(frozen=True)
class Door:
    """A way in: who comes through it, and how much at once."""

    source: Source
    max_bytes: int
    max_items: int
    # Whatever is said of consent, who comes here has refused.
    is_opted_out: bool = False


BROWSER = Door(Source.BROWSER, 64 * KIBIBYTE, 100)  # what browsers let a page send while it closes
OPTED_OUT = replace(BROWSER, is_opted_out=True)  # Sec-GPC: 1, Global Privacy Control
BACKEND = Door(Source.SERVER, 1024 * KIBIBYTE, 1000)
IMPORT = Door(Source.IMPORT, 16 * 1024 * KIBIBYTE, 1000)  # a thousand rows of the longest cells


@dataclass(frozen=True)
class SiteFacts:
    """What parsing needs to know of a site."""

    site_id: int
    currency: str


class EventRow(Struct, frozen=True, gc=False):
    """One row of `Event`, by its columns."""

    site_id: int
    event_id: str
    name: str
    occurred_at: datetime
    received_at: datetime
    created_at: datetime
    source: str
    value: Decimal | None
    currency: str
    transaction_id: str
    external_id: str
    visitor_id: str
    session_id: str
    msclkid: str
    email_sha256: str
    phone_sha256: str
    consent: str
    properties: dict[str, Any]
    fingerprint: str


class ClickRow(Struct, frozen=True, gc=False):
    """One row of `Click`, by its columns."""

    site_id: int
    msclkid: str
    visitor_id: str
    session_id: str
    landing_url: str
    consent: str
    captured_at: datetime
    created_at: datetime


class AdjustmentRow(Struct, frozen=True, gc=False):
    """One row of `Adjustment`, by its columns."""

    site_id: int
    adjustment_id: str
    transaction_id: str
    event_id: str
    type: str
    value: Decimal | None
    currency: str
    occurred_at: datetime
    received_at: datetime
    created_at: datetime
    fingerprint: str


Row = TypeVar("Row", EventRow, ClickRow, AdjustmentRow)


@dataclass(frozen=True)
class Item(Generic[Row]):
    """One item of a batch: its id as far as it may be repeated, and its row or the reasons why there is none.

    An item with a row can have errors too: members that it was taken without.
    """

    path: str
    label: str | None
    row: Row | None
    errors: Sequence[FieldError]


class _Consent(Struct, forbid_unknown_fields=True, omit_defaults=True):
    ad_storage: str | None = None


class _UserData(Struct, forbid_unknown_fields=True, omit_defaults=True):
    email_sha256: str | None = None
    phone_sha256: str | None = None
    email: str | None = None
    phone: str | None = None
    country: str | None = None


class _Event(Struct, forbid_unknown_fields=True, omit_defaults=True):
    name: str
    event_id: str | None = None
    occurred_at: str | None = None
    value: Raw | UnsetType = UNSET  # read by hand: no float, no limit on digits, one rule for text and number
    currency: str | None = None
    transaction_id: str | None = None
    external_id: str | None = None
    visitor_id: str | None = None
    session_id: str | None = None
    msclkid: str | None = None
    consent: _Consent | None = None
    properties: dict[str, Any] | None = None
    user_data: _UserData | None = None


class _Click(Struct, forbid_unknown_fields=True, omit_defaults=True):
    msclkid: str
    visitor_id: str | None = None
    session_id: str | None = None
    landing_url: str | None = None
    captured_at: str | None = None
    consent: _Consent | None = None


class _Adjustment(Struct, forbid_unknown_fields=True, omit_defaults=True):
    adjustment_id: str
    type: str
    transaction_id: str | None = None
    event_id: str | None = None
    value: Raw | UnsetType = UNSET
    currency: str | None = None
    occurred_at: str | None = None


class _Events(Struct, forbid_unknown_fields=True, omit_defaults=True):
    events: list[Raw]
    sent_at: str | None = None


class _Clicks(Struct, forbid_unknown_fields=True, omit_defaults=True):
    clicks: list[Raw]
    sent_at: str | None = None


class _Adjustments(Struct, forbid_unknown_fields=True, omit_defaults=True):
    adjustments: list[Raw]


_EVENTS = msgspec.json.Decoder(_Events)
_CLICKS = msgspec.json.Decoder(_Clicks)
_ADJUSTMENTS = msgspec.json.Decoder(_Adjustments)
_EVENT = msgspec.json.Decoder(_Event)
_CLICK = msgspec.json.Decoder(_Click)
_ADJUSTMENT = msgspec.json.Decoder(_Adjustment)


_UNNAMED = uuid.UUID("6f1d4f0e-3a5c-4c1e-9c43-6a5d3e0b7a52")
_WHO = ("transaction_id", "external_id", "visitor_id", "session_id", "msclkid", "email_sha256", "phone_sha256")


def _new_id() -> str:
    return str(uuid.uuid4())


@dataclass(frozen=True)
class _Batch:
    """What the items of one body have in common."""

    site: SiteFacts
    door: Door
    clock: members.Clock
    new_id: Callable[[], str] = _new_id


def parse_events(
    body: bytes,
    site: SiteFacts,
    door: Door,
    received_at: datetime,
    new_id: Callable[[], str] = _new_id,
) -> list[Item[EventRow]]:
    """Return one item per event of the body, in order; `new_id` names the events that a backend left unnamed.

    Raises BodyRefused.
    """
    said = decode_body(body, _EVENTS, door.max_bytes)
    _check_count("events", said.events, door)
    batch = _Batch(site, door, _read_clock(said.sent_at, door, received_at), new_id)
    return [_read_event(raw, f"events[{n}]", batch) for n, raw in enumerate(said.events)]


def parse_clicks(body: bytes, site: SiteFacts, door: Door, received_at: datetime) -> list[Item[ClickRow]]:
    """Return one item per click of the body, in order. Raises BodyRefused."""
    said = decode_body(body, _CLICKS, door.max_bytes)
    _check_count("clicks", said.clicks, door)
    batch = _Batch(site, door, _read_clock(said.sent_at, door, received_at))
    return [_read_click(raw, f"clicks[{n}]", batch) for n, raw in enumerate(said.clicks)]


def parse_adjustments(body: bytes, site: SiteFacts, door: Door, received_at: datetime) -> list[Item[AdjustmentRow]]:
    """Return one item per adjustment of the body, in order. Raises BodyRefused."""
    said = decode_body(body, _ADJUSTMENTS, door.max_bytes)
    _check_count("adjustments", said.adjustments, door)
    batch = _Batch(site, door, members.Clock(received_at))
    return [_read_adjustment(raw, f"adjustments[{n}]", batch) for n, raw in enumerate(said.adjustments)]


def _read_clock(sent_at: str | None, door: Door, received_at: datetime) -> members.Clock:
    """Only a browser's clock is corrected: a backend says when things happened, not when it sends them."""
    if sent_at is None:
        return members.Clock(received_at)
    try:
        moment = members.parse_time(sent_at)
    except ValueError as error:
        raise body_malformed(fault("sent_at", "time_malformed")) from error
    return members.Clock.set_by(moment if door.source is Source.BROWSER else None, received_at)


def _check_count(member: str, items: list[Raw], door: Door) -> None:
    if not items:
        raise body_malformed(fault(member, "empty_batch"))
    if len(items) > door.max_items:
        detail = f"At most {door.max_items} {member} are taken at once."
        raise BodyRefused(413, "too_many_items", "The batch is too large", detail)


def _read_event(raw: Raw, path: str, batch: _Batch) -> Item[EventRow]:
    complaints = Complaints(path)
    said = decode_item(raw, _EVENT, complaints)
    if said is None:
        return Item(path, None, None, complaints.errors)
    event_id = _read_event_id(said, batch, complaints)
    label = said.event_id if not complaints.errors else None
    row = _event_row(said, event_id, batch, complaints)
    if complaints.errors:
        return Item(path, label, None, complaints.errors)
    return Item(path, row.event_id, row, complaints.notes)


def _read_event_id(said: _Event, batch: _Batch, complaints: Complaints) -> str:
    """Return the id that the sender gave the event; empty for none, which only a backend may leave out."""
    if said.event_id is not None:
        return members.read_id(said.event_id, "event_id", complaints)
    if batch.door.source is Source.BROWSER:
        complaints.add("event_id", "required", "A browser names its events, so that sending one again counts once.")
    return ""


def _event_row(said: _Event, event_id: str, batch: _Batch, complaints: Complaints) -> EventRow:
    claimed_at, occurred_at = members.read_time(said.occurred_at, "occurred_at", batch.clock, complaints)
    value = members.read_value(_raw(said.value), complaints)
    email, phone = _read_person(said.user_data or _UserData(), batch.door, complaints)
    texts = {
        member: members.read_text(getattr(said, member), member, complaints)
        for member in ("transaction_id", "external_id", "visitor_id", "session_id", "msclkid")
    }
    facts: dict[str, Any] = {
        "name": members.read_name(said.name, complaints),
        "value": value,
        "currency": members.read_currency(said.currency, complaints),
        "email_sha256": email,
        "phone_sha256": phone,
        "consent": members.read_ad_storage(said.consent.ad_storage if said.consent else None, complaints),
        "properties": members.read_properties(said.properties, complaints),
        **texts,
    }
    if batch.door.is_opted_out or facts["consent"] == Consent.DENIED:
        # Before anything is made of them: an id or a fingerprint would tell them to whoever guesses.
        facts |= {"email_sha256": "", "phone_sha256": "", "msclkid": ""}
    facts["event_id"] = event_id or _name(claimed_at, facts, batch)
    fingerprint = _fingerprint(claimed_at, facts)
    if batch.door.is_opted_out:
        facts["consent"] = Consent.DENIED.value
    # A refund without a currency is in its order's, whatever the site's is.
    if value is not None and said.name != REFUND_EVENT:
        facts["currency"] = facts["currency"] or batch.site.currency
    return EventRow(
        site_id=batch.site.site_id,
        occurred_at=occurred_at,
        received_at=batch.clock.received_at,
        created_at=batch.clock.received_at,
        source=batch.door.source.value,
        fingerprint=fingerprint,
        **facts,
    )


def _name(claimed_at: datetime | None, facts: dict[str, Any], batch: _Batch) -> str:
    """Return an id for an event without one: of what it says, where that is when and who.

    So a backend that was told to try again counts once. Two that say neither are two.
    """
    if claimed_at is not None and any(facts[member] for member in _WHO):
        return str(uuid.uuid5(_UNNAMED, _fingerprint(claimed_at, facts)))
    return batch.new_id()


def _read_person(said: _UserData, door: Door, complaints: Complaints) -> tuple[str, str]:
    """Return the hashes of e-mail and phone. A browser must have hashed them itself."""
    if door.source is Source.BROWSER and (said.email or said.phone or said.country):
        complaints.add("user_data", "personal_data", "a browser sends email_sha256 and phone_sha256 only")
    for plain in ("email", "phone"):
        if getattr(said, plain) and getattr(said, f"{plain}_sha256"):
            complaints.add(f"user_data.{plain}", "given_twice", "plain or hashed")
    if said.country and not hashing.is_country(said.country):
        complaints.add("user_data.country", "country_unknown")
    email = members.read_hash(said.email_sha256, "user_data.email_sha256", complaints)
    phone = members.read_hash(said.phone_sha256, "user_data.phone_sha256", complaints)
    if complaints.errors:
        return "", ""
    hash_phone = partial(hashing.hash_phone, country=said.country or "")
    return (
        email or members.read_plain(said.email, "email", hashing.hash_email, complaints),
        phone or members.read_plain(said.phone, "phone", hash_phone, complaints),
    )


def _read_click(raw: Raw, path: str, batch: _Batch) -> Item[ClickRow]:
    complaints = Complaints(path)
    said = decode_item(raw, _CLICK, complaints)
    if said is None:
        return Item(path, None, None, complaints.errors)
    if not (is_click_id(said.msclkid) or is_test_click_id(said.msclkid)):
        complaints.add("msclkid", "click_id_malformed")
    label = None if complaints.errors else said.msclkid
    row = _click_row(said, batch, complaints)
    return Item(path, label, None if complaints.errors else row, complaints.errors)


def _click_row(said: _Click, batch: _Batch, complaints: Complaints) -> ClickRow:
    consent = members.read_ad_storage(said.consent.ad_storage if said.consent else None, complaints)
    if batch.door.is_opted_out or consent == Consent.DENIED:
        complaints.add("consent.ad_storage", "consent_denied")
    if not (said.visitor_id or said.session_id):
        complaints.add("visitor_id", "required", "Without it or a session_id the click could never be found again.")
    return ClickRow(
        site_id=batch.site.site_id,
        msclkid=said.msclkid,
        visitor_id=members.read_text(said.visitor_id, "visitor_id", complaints),
        session_id=members.read_text(said.session_id, "session_id", complaints),
        landing_url=members.read_landing_url(said.landing_url, complaints),
        consent=consent,
        captured_at=members.read_time(said.captured_at, "captured_at", batch.clock, complaints)[1],
        created_at=batch.clock.received_at,
    )


def _read_adjustment(raw: Raw, path: str, batch: _Batch) -> Item[AdjustmentRow]:
    complaints = Complaints(path)
    said = decode_item(raw, _ADJUSTMENT, complaints)
    if said is None:
        return Item(path, None, None, complaints.errors)
    adjustment_id = members.read_id(said.adjustment_id, "adjustment_id", complaints)
    label = None if complaints.errors else adjustment_id
    row = _adjustment_row(said, batch, complaints)
    return Item(path, label, None if complaints.errors else row, complaints.errors)


def _adjustment_row(said: _Adjustment, batch: _Batch, complaints: Complaints) -> AdjustmentRow:
    claimed_at, occurred_at = members.read_time(said.occurred_at, "occurred_at", batch.clock, complaints)
    transaction_id, event_id = _read_order(said, complaints)
    value = _read_total(said, complaints)
    facts: dict[str, Any] = {
        "adjustment_id": said.adjustment_id,
        "transaction_id": transaction_id,
        "event_id": event_id,
        "type": members.read_type(said.type, complaints),
        "value": value,
        "currency": members.read_currency(said.currency, complaints),
    }
    fingerprint = _fingerprint(claimed_at, facts)
    if value is not None:
        facts["currency"] = facts["currency"] or batch.site.currency
    return AdjustmentRow(
        site_id=batch.site.site_id,
        occurred_at=occurred_at,
        received_at=batch.clock.received_at,
        created_at=batch.clock.received_at,
        fingerprint=fingerprint,
        **facts,
    )


def _read_order(said: _Adjustment, complaints: Complaints) -> tuple[str, str]:
    """Return the order's transaction id and the id of its event, of which exactly one is not empty."""
    if said.transaction_id and said.event_id:
        complaints.add("event_id", "given_twice", "by transaction_id or by event_id")
    elif not (said.transaction_id or said.event_id):
        complaints.add("transaction_id", "required", "It or an event_id has to say which order is meant.")
    transaction_id = members.read_text(said.transaction_id, "transaction_id", complaints)
    return transaction_id, members.read_id(said.event_id, "event_id", complaints) if said.event_id else ""


def _read_total(said: _Adjustment, complaints: Complaints) -> Decimal | None:
    """Return the order's new total: a restatement has one, of zero too, and a retraction has none."""
    raw = _raw(said.value)
    is_said = raw not in (b"", b"null")
    if said.type == AdjustmentType.RESTATE and not is_said:
        complaints.add("value", "required", "It is the order's new total, 0 too; retract takes the order back.")
    elif said.type == AdjustmentType.RETRACT and is_said:
        complaints.add("value", "value_of_retract")
        return None
    return members.read_value(raw, complaints)


def _raw(said: Raw | UnsetType) -> bytes:
    return b"" if said is UNSET else bytes(said)


def _fingerprint(claimed_at: datetime | None, facts: dict[str, Any]) -> str:
    """Of what was said, not of what was made of it: a repeat has another sent_at and may meet another site currency."""
    return hashlib.sha256(msgspec.json.encode([claimed_at, facts], order="sorted")).hexdigest()
