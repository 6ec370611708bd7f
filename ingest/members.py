"""How each member of an event, a click or an adjustment is read.

Pure: text in, what is stored out, faults into `Complaints`.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from ingest import hashing
from ingest.currencies import CURRENCIES
from ingest.models import MAX_ID_CHARS, VALUE_DECIMALS, AdjustmentType, Consent
from ingest.refusals import FUTURE_HOURS, MAX_DEPTH, MAX_PROPERTY_KEYS, MAX_VALUE, Complaints

# A request takes a moment; only a clock that is off by more than that is corrected.
SKEW_TOLERANCE = timedelta(seconds=5)
SKEW_WORTH_TELLING = timedelta(hours=24)
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)
LANDING_URL_CHARS = 1000
PROPERTIES_DEPTH = 4  # the body, its list, the event, its properties
WHOLE_NUMBER_LIMIT = 2**63

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:=+~-]{0,127}")
_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}(:[0-9]{2}([.,][0-9]{1,9})?)?(Z|[+-][0-9]{2}:?[0-9]{2})"
)
# Three digits of exponent and 64 characters in all keep the arithmetic below cheap.
_NUMBER = re.compile(r"-?[0-9]{1,64}(\.[0-9]{1,64})?([eE][+-]?[0-9]{1,3})?")
_CENT = Decimal(1).scaleb(-VALUE_DECIMALS)
# From the @ on: to begin at every letter before it would take a long text without one hours.
_EMAIL_LOOK = re.compile(r"(?<=[\w.+-])(@|%40)([\w-]{1,63}\.){1,8}[A-Za-z]{2,24}\b", re.IGNORECASE)
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True)
class Clock:
    """When a request came, and how far the sender's clock is behind ours (negative: ahead)."""

    received_at: datetime
    skew: timedelta = timedelta(0)

    @classmethod
    def set_by(cls, sent_at: datetime | None, received_at: datetime) -> "Clock":
        """Compare the sender's clock with ours; a few seconds are the journey and stay as they are."""
        skew = received_at - sent_at if sent_at else timedelta(0)
        return cls(received_at, skew if abs(skew) > SKEW_TOLERANCE else timedelta(0))

    @property
    def remark(self) -> str:
        """A sentence for a refused time whose sender's clock is far off; empty otherwise."""
        hours = round(abs(self.skew) / timedelta(hours=1))
        side = "behind" if self.skew > timedelta(0) else "ahead of"
        return (
            f"By sent_at, the sender's clock is {hours} hours {side} ours."
            if abs(self.skew) > SKEW_WORTH_TELLING
            else ""
        )


def looks_like_email(text: str) -> bool:
    """Say whether a plain or percent-encoded e-mail address is somewhere in the text."""
    return ("@" in text or "%40" in text) and _EMAIL_LOOK.search(text) is not None


def read_name(said: str, complaints: Complaints) -> str:
    """Return the event's name."""
    if _NAME.fullmatch(said) is None:
        complaints.add("name", "name_malformed")
    return said


def read_id(said: str, member: str, complaints: Complaints) -> str:
    """Return an `event_id` or `adjustment_id`, which is also part of the address it is looked up under."""
    if _ID.fullmatch(said) is None:
        complaints.add(member, f"{member}_malformed")
    return said


def read_type(said: str, complaints: Complaints) -> str:
    """Return what an adjustment does to its order."""
    if said not in AdjustmentType.values:
        complaints.add("type", "type_unknown")
    return said


def read_text(said: str | None, member: str, complaints: Complaints) -> str:
    """Return an id exactly as it was sent; empty when there is none."""
    if not said:
        return ""
    if len(said) > MAX_ID_CHARS:
        complaints.add(member, "too_long")
    elif not said.isprintable():
        complaints.add(member, "bad_character")
    elif looks_like_email(said):
        complaints.add(member, "personal_data", "send an id of your own, and the address in user_data")
    return said


def parse_time(said: str) -> datetime:
    """Return an ISO 8601 date and time with zone as aware UTC; ValueError for anything else."""
    if _TIME.fullmatch(said) is None:
        raise ValueError("not a time with its zone")
    moment = datetime.fromisoformat(said)
    if not 1970 <= moment.year <= 2200:  # keeps every later sum inside Python's calendar
        raise ValueError("not a year of this product")
    return moment.astimezone(UTC)


def read_time(said: str | None, member: str, clock: Clock, complaints: Complaints) -> tuple[datetime | None, datetime]:
    """Return when it happened as claimed (None: not said) and as corrected by the sender's clock, both UTC."""
    if said is None:
        return None, clock.received_at
    try:
        claimed = parse_time(said)
    except ValueError:
        complaints.add(member, "time_malformed")
        return None, clock.received_at
    corrected = claimed + clock.skew
    if corrected < EARLIEST:
        complaints.add(member, "time_out_of_range", clock.remark)
    elif corrected > clock.received_at + timedelta(hours=FUTURE_HOURS):
        complaints.add(member, "time_in_future", clock.remark)
    return claimed, corrected


def read_value(said: bytes, complaints: Complaints) -> Decimal | None:
    """Return the value from its raw JSON, a number or a number in quotes, with three decimals; None for null."""
    if said == b"null" or not said:
        return None
    text = said.removeprefix(b'"').removesuffix(b'"').decode()
    if _NUMBER.fullmatch(text) is None:
        complaints.add("value", "value_malformed")
        return None
    value = Decimal(text)
    if value < 0:
        complaints.add("value", "value_negative")
    elif value > MAX_VALUE:
        complaints.add("value", "value_too_large")
    elif value != value.quantize(_CENT):
        complaints.add("value", "value_decimals")
    else:
        return value.quantize(_CENT).copy_abs()  # there is a -0
    return None


def read_currency(said: str | None, complaints: Complaints) -> str:
    """Return the currency's code as it was said; empty when it was not."""
    if not said:
        return ""
    if said in CURRENCIES:
        return said
    if said.upper() in CURRENCIES:
        complaints.add("currency", "currency_lower_case", said.upper())
    else:
        complaints.add("currency", "currency_unknown")
    return ""


def read_ad_storage(said: str | None, complaints: Complaints) -> str:
    """Return what the visitor said of advertising storage; empty when nothing was said."""
    if said and said not in {Consent.GRANTED.value, Consent.DENIED.value}:
        complaints.add("consent.ad_storage", "consent_unknown")
    return said or ""


def read_hash(said: str | None, member: str, complaints: Complaints) -> str:
    """Return a SHA-256 that the sender made, lower-cased; empty when there is none."""
    if not said:
        return ""
    if not hashing.is_sha256(said):
        complaints.add(member, "hash_malformed")
    elif said.lower() == hashing.SHA256_OF_NOTHING:
        complaints.add(member, "hash_of_nothing")
    return said.lower()


def read_plain(said: str | None, member: str, hashed: Callable[[str], str], complaints: Complaints) -> str:
    """Return the SHA-256 of plain personal data. What cannot be read is left out and noted.

    People type these by hand: a purchase is not lost because its buyer mistyped a phone number.
    """
    if not said:
        return ""
    try:
        return hashed(said)
    except ValueError:
        complaints.note(f"user_data.{member}", f"{member}_malformed")
        return ""


def read_properties(said: dict[str, Any] | None, complaints: Complaints) -> dict[str, Any]:
    """Return the properties unchanged, or none after a complaint about the first fault in them."""
    keys = 0
    # Each with its depth and the outermost property that holds it.
    left: list[tuple[Any, int, str]] = [(said or {}, PROPERTIES_DEPTH, "")]
    while left:
        value, depth, outermost = left.pop()
        if isinstance(value, dict):
            keys += len(value)
            for key, each in value.items():
                left.append((each, depth + 1, outermost or key))
                left.append((key, depth + 1, outermost))
        elif isinstance(value, list):
            left += [(each, depth + 1, outermost) for each in value]
        fault = "too_many_keys" if keys > MAX_PROPERTY_KEYS else _fault_of(value, depth)
        if fault:
            # Deeper names add nothing, and odd ones may be personal data.
            member = f"properties.{outermost}" if _PLAIN_KEY.fullmatch(outermost) else "properties"
            complaints.add(member, fault, "an e-mail address in properties must be left out")
            return {}
    return said or {}


def _fault_of(value: Any, depth: int) -> str:
    if isinstance(value, dict | list):
        return "too_deep" if depth > MAX_DEPTH else ""
    if isinstance(value, str):
        if "\0" in value:  # PostgreSQL's text cannot hold it
            return "bad_character"
        return "personal_data" if looks_like_email(value) else ""
    is_large = type(value) is int and not -WHOLE_NUMBER_LIMIT <= value < WHOLE_NUMBER_LIMIT
    return "number_out_of_range" if is_large else ""


def read_landing_url(said: str | None, complaints: Complaints) -> str:
    """Return the landing page's address with no fragment, user name or parameter but `msclkid` and `utm_*`.

    A part that holds an e-mail address is left out, and so is what would not fit. Losing the click for it would be
    worse.
    """
    if not said:
        return ""
    try:
        parts = urlsplit(said)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        parts, host = None, ""
    if parts is None or parts.scheme not in {"http", "https"} or not host or not said.isprintable():
        complaints.add("landing_url", "url_malformed")
        return ""
    origin = f"{parts.scheme}://{host}"
    path = "" if looks_like_email(unquote(parts.path)) else parts.path
    kept = [(key, value) for key, value in parse_qsl(parts.query) if _is_kept(key, value)]
    whole = f"{origin}{path}?{urlencode(kept)}" if kept else f"{origin}{path}"
    return next((url for url in (whole, f"{origin}{path}", origin) if len(url) <= LANDING_URL_CHARS), "")


def _is_kept(key: str, value: str) -> bool:
    is_ours = key.lower() == "msclkid" or key.lower().startswith("utm_")
    return is_ours and not looks_like_email(value) and not looks_like_email(key)
