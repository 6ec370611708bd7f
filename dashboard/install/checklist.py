"""Whether a site's installation works: facts in, checks out, each with what is missing and what to do about it.

Pure: `dashboard/install/facts.py` reads the facts.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from dashboard import wording
from ingest.cors import normalise_origin
from ingest.models import Source
from ingest.refusals import BODY_RULES, REFUSALS, rule
from ingest.refused_items import DAILY_CAP, MENDED_AFTER, TOO_MANY

State = Literal["ok", "warn", "bad", "wait"]
MAX_URL_CHARS = 2000
RULES_SHOWN = 3
# By source and what was posted: many of it, and one.
_POSTED = {
    ("browser", "events"): ("events of your pages", "Event of a page"),
    ("browser", "clicks"): ("clicks", "Click"),
    ("server", "events"): ("events of your backend", "Event of your backend"),
    ("server", "adjustments"): ("adjustments", "Adjustment"),
}
_SENDERS = {"browser": "your pages", "server": "your backend"}


@dataclass(frozen=True, slots=True)
class Blocked:
    """An origin whose pages use the site's key and are turned away."""

    origin: str
    last_at: datetime


@dataclass(frozen=True, slots=True)
class Refused:
    """A rule by which something was refused of late; the fields are those of `RefusedItem`."""

    source: str
    what: str
    member: str
    code: str
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True, slots=True)
class Conversion:
    """The event that the last check waits for."""

    name: str
    received_at: datetime
    value: Decimal | None = None
    currency: str = ""
    transaction_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of a site's pages. Events are its newest ones, as many as `events` says."""

    write_key: str
    currency: str
    needs_consent: bool
    allowed_origins: Sequence[str] = ()
    blocked: Sequence[Blocked] = ()
    # Newest first. A daily cap is among them while it may still be reached.
    refused: Sequence[Refused] = ()
    daily_cap: int = 0
    time_zone: str = "UTC"
    # Whether a page ever sent anything, and when it last did where that is known.
    is_heard: bool = False
    heard_at: datetime | None = None
    # Of landing pages that reported a click.
    origins_seen: Sequence[str] = ()
    test_click_at: datetime | None = None
    has_click_id: bool = False
    # Events of pages: how many carried a click id, and how many came without it though their visitor had clicked.
    kept: int = 0
    lost: int = 0
    events: int = 0
    has_more_events: bool = False
    granted: int = 0
    denied: int = 0
    conversion: Conversion | None = None

    @property
    def turned_away_at(self) -> datetime | None:
        """When a page with the script and the site's key was turned away last, or its post refused."""
        of_pages = [each.last_at for each in self.refused if each.source == Source.BROWSER]
        return max([*of_pages, *(each.last_at for each in self.blocked)], default=None)


@dataclass(frozen=True, slots=True)
class Rule:
    """What was refused: of what, which member (none for the whole), the rule, and when last."""

    of: str
    member: str
    text: str
    last_at: datetime


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the list. `note` and `at` stand at its end, `text` says what to do, `blocked` can be allowed."""

    state: State
    title: str
    text: str = ""
    note: str = ""
    at: datetime | None = None
    blocked: Sequence[Blocked] = ()
    rules: Sequence[Rule] = ()
    is_code: bool = False  # the note is an id


@dataclass(frozen=True, slots=True)
class PageLink:
    """A customer's page with a test click id, ready to be opened, or why it cannot be."""

    typed: str
    href: str = ""
    refusal: str = ""


def checks(facts: Facts) -> list[Check]:
    """Return the checks in the order in which an installation comes to life; some only where something is wrong."""
    arrived = [_script(facts), _key(facts), _origins(facts)]
    return [*arrived, *_refusals(facts), _click(facts), _consent(facts), _conversion(facts)]


def turned_away(facts: Facts) -> list[Check]:
    """Return only what is lost at the door: origins that are blocked, and what is refused. Reads no events."""
    return [*([_origins(facts)] if facts.blocked else []), *_refusals(facts)]


def summary(of: Sequence[Check]) -> str:
    """Write how far it is: "4 of 6 done, 1 warning"."""
    counts = {state: sum(check.state == state for check in of) for state in ("ok", "warn", "bad")}
    parts = [f"{counts['ok']} of {len(of)} done"]
    if counts["bad"]:
        parts.append(f"{counts['bad']} to fix")
    if counts["warn"]:
        parts.append(f"{counts['warn']} warning{'s' if counts['warn'] > 1 else ''}")
    return ", ".join(parts)


def page_link(typed: str, allowed_origins: Sequence[str], test_click_id: str) -> PageLink:
    """Return the page's address with the test click id in place of any other.

    Only http and https, and only origins on the site's list where it has one.
    """
    example = allowed_origins[0] if allowed_origins else "https://www.example.com"
    refusal = PageLink(typed, refusal=f"Enter the address of a page, such as {example}/.")
    address = typed.strip()
    if len(address) > MAX_URL_CHARS:
        return refusal
    try:
        parts = urlsplit(address if "//" in address else f"https://{address}")
        # As browsers write it in an Origin, whatever the person typed.
        netloc = parts.netloc.encode("idna").decode()
        origin = normalise_origin(f"{parts.scheme}://{netloc}")
    except ValueError:  # UnicodeError is one
        return refusal
    if allowed_origins and origin not in allowed_origins:
        listed = wording.listed([str(each) for each in allowed_origins])
        return PageLink(typed, refusal=f"This site takes events from {listed} only. Enter a page there.")
    # The rest of the query stays to the letter: the page may depend on it.
    others = [pair for pair in parts.query.split("&") if pair and pair.partition("=")[0].lower() != "msclkid"]
    query = "&".join([*others, f"msclkid={test_click_id}"])
    return PageLink(typed, parts._replace(netloc=netloc, path=parts.path or "/", query=query).geturl())


def _script(facts: Facts) -> Check:
    if facts.is_heard:
        seen = f"On {wording.listed(list(facts.origins_seen))}." if facts.origins_seen else ""
        return Check("ok", "Script loaded", seen, at=facts.heard_at)
    if facts.turned_away_at:
        return Check("ok", "Script loaded", at=facts.turned_away_at)
    title = "Waiting for the script"
    first = "Your backend’s events arrive. Click IDs need the script on your pages too. " if facts.events else ""
    consent = " Agree to ads there: before that the script sends nothing." if facts.needs_consent else ""
    return Check("wait", title, f"{first}Press Open: your page has to report its test click ID.{consent}")


def _key(facts: Facts) -> Check:
    short = f"{facts.write_key[:7]}…{facts.write_key[-4:]}"
    if facts.is_heard or facts.turned_away_at:
        return Check("ok", "Key belongs to this site", note=short, is_code=True)
    return Check("wait", "Waiting for this site’s key", note=short, is_code=True)


def _origins(facts: Facts) -> Check:
    if facts.blocked:
        title = "Origin blocked" if len(facts.blocked) == 1 else f"{len(facts.blocked)} origins blocked"
        text = "What its pages send is refused: it is not among this site’s origins."
        if len(facts.blocked) > 1:
            text = "What their pages send is refused: they are not among this site’s origins."
        # Where something arrives, the others may be strangers who copied the key.
        return Check("warn" if facts.is_heard else "bad", title, text, blocked=facts.blocked)
    listed = f"{len(facts.allowed_origins)} listed" if facts.allowed_origins else "any may send"
    return Check("ok" if facts.is_heard or facts.turned_away_at else "wait", "No origin blocked", note=listed)


def _refusals(facts: Facts) -> Iterator[Check]:
    """Say what is lost, and what has to be done about it; nothing where nothing was refused of late."""
    capped = [each for each in facts.refused if each.code == DAILY_CAP]
    hurried = [each for each in facts.refused if each.code == TOO_MANY]
    broken = [each for each in facts.refused if each.code not in (DAILY_CAP, TOO_MANY)]
    if broken:
        yield _refused(broken)
    if capped:
        yield _capped(capped, facts)
    if hurried:
        text = "Some were sent faster than this server takes. The script sends them again; your backend has to."
        yield Check("warn", "Too many requests at once", text, at=hurried[0].last_at)


def _refused(broken: Sequence[Refused]) -> Check:
    kinds = dict.fromkeys(_POSTED[each.source, each.what][0] for each in broken)
    rules = [Rule(_of(each), each.member, rule(each.code), each.last_at) for each in broken[:RULES_SHOWN]]
    sources = {each.source for each in broken}
    whose = wording.listed([word for source, word in _SENDERS.items() if source in sources])
    more = len(broken) - len(rules)
    others = f" {more} more rule{'s were' if more > 1 else ' was'} broken." if more else ""
    hours = MENDED_AFTER // timedelta(hours=1)
    text = (
        f"They are not stored and not forwarded. Correct the code of {whose} by the rules that Install SDK lists."
        f" This notice goes away once nothing was refused for {hours} hours.{others}"
    )
    title = f"{wording.listed(list(kinds))} are refused"
    return Check("bad", title[0].upper() + title[1:], text, rules=rules)


def _of(refused: Refused) -> str:
    many, one = _POSTED[refused.source, refused.what]
    is_of_bodies = not refused.member and refused.code in BODY_RULES.keys() - REFUSALS.keys()
    return f"{many.capitalize()}, the whole request" if is_of_bodies else one


def _capped(capped: Sequence[Refused], facts: Facts) -> Check:
    since = min(each.first_at for each in capped).astimezone(ZoneInfo(facts.time_zone))
    sources = {each.source for each in capped}
    senders = wording.listed([word for source, word in _SENDERS.items() if source in sources])
    text = (
        f"What {senders} sent since {since:%H:%M} was turned away, and it will be until midnight in {facts.time_zone}."
        f" Pages may send {facts.daily_cap:,} events and clicks a day, and backends as many. An owner or"
        " admin can raise it in Site settings."
    )
    return Check("bad", "The site’s daily cap is reached", text, at=max(each.last_at for each in capped))


def _click(facts: Facts) -> Check:
    at = facts.test_click_at
    has_any = facts.has_click_id or at is not None
    if not has_any and not facts.events:
        return Check("wait", "Waiting for a click ID", "Press Open. The script keeps the msclkid of the address.")
    if not has_any:
        title = (
            f"No click ID in the newest {facts.events:,} events" if facts.has_more_events else "No click ID ever seen"
        )
        text = (
            "Press Open to see whether your page keeps msclkid. If it does, turn on auto-tagging in Microsoft"
            " Advertising; if not, look for a redirect that drops the query string."
        )
        return Check("warn", title, text)
    if facts.kept:
        return Check("ok", "msclkid captured and kept", note=f"{facts.kept} of {facts.kept + facts.lost} events")
    if facts.lost:
        events = f"{facts.lost} event{'s' if facts.lost > 1 else ''}"
        text = f"{events} of visitors who had clicked came without it. Put the script on every page."
        return Check("warn", "msclkid captured, then lost", text)
    text = "The next event of that visitor shows whether it is kept."
    return Check("ok", "Test click captured" if at else "msclkid captured", text, at=at)


def _consent(facts: Facts) -> Check:
    said = f"{facts.granted} granted, {facts.denied} denied" if facts.denied else f"{facts.granted} granted"
    if facts.granted:
        return Check("ok", "Consent signal found", note=said)
    how = 'Call Convultra.consent({ad_storage: "granted"}) when the visitor agrees.'
    if facts.needs_consent and not facts.events:
        return Check("wait", "Waiting for consent", f"The snippet starts denied, and sends nothing until then. {how}")
    if facts.needs_consent:
        title = "Consent never granted"
        if facts.has_more_events:
            title = f"Consent not granted in the newest {facts.events:,} events"
        return Check("bad", title, f"This site forwards only with consent, so nothing is forwarded. {how}")
    if facts.denied:
        return Check(
            "warn", "Consent only ever denied", f"Such events are not forwarded. {how}", f"{facts.denied} denied"
        )
    text = "This site forwards unless a visitor refuses."
    if facts.is_heard:
        return Check("ok", "Consent not needed", text)
    return Check("wait", "Waiting for a consent signal", text)


def _conversion(facts: Facts) -> Check:
    found = facts.conversion
    if found is None:
        return Check("wait", "Waiting for a test purchase", "Place one on your site, in the tab that Open opens.")
    money = wording.money(found.value, found.currency, facts.currency)
    if found.name == "purchase" and not found.transaction_id:
        text = "Send it always. It stops double counting and lets you restate or retract the order later."
        return Check("warn", "purchase came without transaction_id", text, money, found.received_at)
    return Check("ok", f"{found.name} received", note="" if found.value is None else money, at=found.received_at)
