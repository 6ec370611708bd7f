"""One event in full: what was received, and in each account why it was, or was not, forwarded. No HTML here.

The checks of an account stand in the order in which the planner asks, and end at the first that says no: what a list
shows above a cross is true, and what would come after it was not asked.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import NamedTuple
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from django.urls import reverse

from dashboard import wording
from dashboard.events.listing import ALL_ACCOUNTS, Scene, short_hash
from dashboard.events.reasons import NO_ACCOUNT, NOT_PLANNED, NOT_THERE_YET, Fix, Reason, why_skipped
from dashboard.frame import account_url, needed_for, url_or_nothing
from dashboard.logs.listing import LogRow, Second
from dashboard.logs.story import Exchange, exchange
from forwarding.errors import explain, told_code, waits_for_somebody, what_next
from forwarding.models import ClickSource, Delivery, Kind, Skip, Status
from ingest.models import Consent, ConsentPolicy, Event, Role, Site
from integrations.models import AdAccount

# Of a correction: it has no conversion to correct, or nothing of it to change.
_WITHOUT_ORDER = (Skip.NO_ORDER, Skip.NOT_FORWARDED, Skip.PUBLIC_KEY)
# Asked when all else is well: whether another event stands for the order, or the order was called off.
_OF_ORDERS = (Skip.SAME_ORDER, Skip.SAME_SECOND, Skip.UNCONFIRMED, Skip.CANCELLED, Skip.CALLED_OFF)


class _Look(NamedTuple):
    css: str
    icon: str


_LOOKS = {
    "ok": _Look("ok", icon="circle-check"),
    "bad": _Look("bad", icon="circle-x"),
    "wait": _Look("wait", icon="clock"),
    "no": _Look("wait", icon="circle-minus"),
}


@dataclass(frozen=True)
class Check:
    """A line of an account's list: `look` is ok, bad, wait or no; `note` stands at its end, `why` below it.

    `href` is where `fix` is made; without one nothing is linked. `needs` names the roles that open that page, where
    the reader has none of them.
    """

    look: str
    what: str
    note: str = ""
    why: str = ""
    fix: Fix | None = None
    href: str = ""
    needs: str = ""

    @property
    def css(self) -> str:
        """Return the line's class."""
        return _LOOKS[self.look].css

    @property
    def icon(self) -> str:
        """Return the line's picture."""
        return _LOOKS[self.look].icon


_VALID = Check("ok", "Valid event", "all fields fine")


@dataclass(frozen=True)
class AccountStory:
    """What became of an event in one account, or in the whole site where none has it."""

    name: str
    status: str
    checks: Sequence[Check]
    second: Second | None = None
    delivery: Delivery | None = None
    exchange: Exchange | None = None
    log_href: str = ""

    @property
    def sent_id(self) -> str:
        """Return what names the block with the request on the page."""
        return f"sent-{self.delivery.public_id}" if self.delivery else ""

    @property
    def answer_id(self) -> str:
        """Return what names the block with the answer on the page."""
        return f"answer-{self.delivery.public_id}" if self.delivery else ""


def stories(event: Event, rows: Sequence[LogRow], scene: Scene, role: Role) -> list[AccountStory]:
    """Return what became of an event in each account, in the order of the list, for a reader of this role."""
    if event.planned_at is None:
        waiting = Check("wait", "Looked at", why=NOT_PLANNED.why)
        return [AccountStory(ALL_ACCOUNTS, Status.PENDING, [_VALID, waiting])]
    having = {row.delivery.account_id for row in rows}
    told = [_story(event, row, scene, role) for row in rows]
    told += [
        _without("Connection to the account", NOT_THERE_YET, scene.site, role, account.name)
        for account in scene.accounts
        if account.pk not in having
    ]
    return told or [_without("Connection to an account", NO_ACCOUNT, scene.site, role)]


def checks(event: Event, delivery: Delivery, scene: Scene) -> list[Check]:
    """Return the list of one account, up to the first check that fails."""
    steps = _of_conversion if delivery.kind == Kind.CONVERSION else _of_correction
    reason = why_skipped(event, delivery, scene.mapped) if delivery.skip_reason else None
    found = [_VALID, *steps(event, delivery, scene.site, reason)]
    if reason is None:
        found.append(_answer(delivery, scene.now, scene.zone))
    return found


def received_json(event: Event) -> str:
    """Return the event as it was accepted, as JSON; of hashes of people both ends are left, to compare."""
    said: dict[str, object] = {
        "event_id": event.event_id,
        "name": event.name,
        "occurred_at": _utc(event.occurred_at),
        "received_at": _utc(event.received_at),
        "value": None if event.value is None else f"{event.value:f}",
        "currency": event.currency,
        "transaction_id": event.transaction_id,
        "external_id": event.external_id,
        "msclkid": event.msclkid,
        "visitor_id": event.visitor_id,
        "session_id": event.session_id,
        "consent": {"ad_storage": event.consent} if event.consent else None,
        "user_data": _user_data(event),
        "properties": event.properties,
    }
    kept = {name: what for name, what in said.items() if what not in ("", None, {})}
    return json.dumps(kept, indent=2, ensure_ascii=False)


def matched_by(rows: Sequence[LogRow]) -> str:
    """Return by what Microsoft can match the event, in words; empty when by nothing.

    A correction names its conversion, by whatever that one was matched.
    """
    sent = [row.delivery for row in rows if row.delivery.kind == Kind.CONVERSION]
    clicks = [ClickSource(one.click_source) for one in sent if one.msclkid]
    ways = []
    if clicks:
        way = clicks[0]
        ways.append("Click ID" if way == ClickSource.EVENT else f"Click ID ({way.label.lower()})")
    ways += ["hashed email"] if any(one.email_sha256 for one in sent) else []
    ways += ["hashed phone"] if any(one.phone_sha256 for one in sent) else []
    if not ways and any(row.delivery.original_id for row in rows if row.delivery.kind != Kind.CONVERSION):
        return "Its order’s conversion"
    text = ", ".join(ways)
    return text[:1].upper() + text[1:]


def _story(event: Event, row: LogRow, scene: Scene, role: Role) -> AccountStory:
    one = row.delivery
    name = one.account.name if one.account.is_active else f"{one.account.name} (removed)"
    told = [_with_way(check, role, scene.site, one.account, one) for check in checks(event, one, scene)]
    log = _page_of(Fix("", "log"), scene.site, one.account, one)
    return AccountStory(name, one.status, told, row.second, one, exchange(one), log)


def _with_way(
    check: Check, role: Role, site: Site, account: AdAccount | None = None, delivery: Delivery | None = None
) -> Check:
    """Return a check with the page of its fix, or with who may open that page where the reader may not."""
    if check.fix is None:
        return check
    needs = needed_for(check.fix.page, role)
    return replace(check, needs=needs, href="" if needs else _page_of(check.fix, site, account, delivery))


def _page_of(fix: Fix, site: Site, account: AdAccount | None = None, delivery: Delivery | None = None) -> str:
    """Return the address on which a fix is made; "" where this release has no such page."""
    if delivery is not None and account is not None and fix.page == "log":
        return reverse("dashboard:account-delivery", args=[site.public_id, account.account_id, delivery.public_id])
    if delivery is not None and fix.page == "order":
        if delivery.original is not None:
            return reverse("dashboard:event", args=[site.public_id, delivery.original.event.event_id])
        found = urlencode({"q": delivery.transaction_id})
        return f"{reverse('dashboard:events', args=[site.public_id])}?{found}" if delivery.transaction_id else ""
    if account is not None and fix.page in ("mapping", "settings"):
        return account_url(site, account, fix.page) if account.is_active else ""
    return url_or_nothing(fix.page, site.public_id)


def _without(what: str, reason: Reason, site: Site, role: Role, name: str = ALL_ACCOUNTS) -> AccountStory:
    return AccountStory(name, Status.SKIPPED, [_VALID, _with_way(_no(what, reason), role, site)])


def _of_conversion(event: Event, delivery: Delivery, site: Site, reason: Reason | None) -> list[Check]:
    skip = delivery.skip_reason
    if skip == Skip.NOT_MAPPED and reason:
        return [_no("Mapped to a goal", reason)]
    found = [Check("ok", f"Mapped to “{delivery.goal_name}”")]
    if skip == Skip.FILTERED and reason:
        return [*found, _no("The mapping’s condition", reason)]
    if skip == Skip.NO_CONSENT and reason:
        return [*found, _no("Ad consent given", reason)]
    found.append(Check("ok", "Ad consent given", _consent(event, site)))
    if skip == Skip.TOO_OLD and reason:
        return [*found, _no("Not older than 90 days", reason)]
    if skip == Skip.NO_IDENTIFIER and reason:
        return [*found, _no("Microsoft click found", reason)]
    found.append(_identified(event, delivery))
    if skip in _OF_ORDERS and reason:
        return [*found, _no("Counts once, and still counts", reason)]
    return [*found, _no("Forwarded", reason)] if reason else found


def _of_correction(_event: Event, delivery: Delivery, _site: Site, reason: Reason | None) -> list[Check]:
    skip = delivery.skip_reason
    if skip == Skip.NOT_MAPPED and reason:
        return [_no("Mapped to a goal", reason)]
    if skip in _WITHOUT_ORDER and reason:
        return [_no("Corrects a forwarded order", reason)]
    if reason:
        return [Check("ok", "Corrects a forwarded order"), _no("Changes what Microsoft counts", reason)]
    if delivery.original is None:
        return []
    return [Check("ok", "Corrects a forwarded order", delivery.transaction_id)]


def _identified(event: Event, delivery: Delivery) -> Check:
    if not delivery.msclkid:
        return Check("ok", "Hashed customer data found", "no click ID")
    note = ClickSource(delivery.click_source).label.lower()
    if delivery.clicked_at is not None and event.occurred_at >= delivery.clicked_at:
        note = f"{wording.duration((event.occurred_at - delivery.clicked_at).total_seconds())} earlier"
    return Check("ok", "Microsoft click found", note)


def _answer(delivery: Delivery, now: datetime, zone: ZoneInfo) -> Check:
    """Return the last check: what Microsoft said, or what it waits for."""
    what = "Accepted by Microsoft"
    if delivery.status == Status.DELIVERED:
        return Check("ok", what, wording.clock(delivery.delivered_at, zone, now) if delivery.delivered_at else "")
    words = explain(delivery)
    follows = what_next(delivery, now, lambda at: wording.clock(at, zone, now), lambda at: wording.day(at, zone, now))
    told = told_code(delivery, words)
    code = f" ({told})" if told else ""
    said = [f"{words.title}{code}.", words.cause, words.fix] if words else []
    is_stuck = delivery.status == Status.FAILED or waits_for_somebody(delivery)
    why = " ".join(part for part in (*said, follows) if part) or "It goes out with the next batch."
    page = words.page if words and words.page else "log"
    fix = Fix(_FIX_WORDS[page], page) if is_stuck else None
    return Check("bad" if delivery.status == Status.FAILED else "wait", what, why=why, fix=fix)


_FIX_WORDS = {
    "mapping": "Open goal mapping",
    "settings": "Open settings",
    "integrations": "Open integrations",
    "install": "Send events as they happen",
    "log": "Open it in Forward Logs",
}


def _no(what: str, reason: Reason) -> Check:
    return Check("no", what, why=f"{reason.title}. {reason.why}", fix=reason.fix)


def _consent(event: Event, site: Site) -> str:
    if event.consent == Consent.GRANTED:
        return "granted"
    return "the site’s rule" if site.consent_policy == ConsentPolicy.ASSUME else "not asked"


def _user_data(event: Event) -> dict[str, str]:
    hashes = {"email_sha256": event.email_sha256, "phone_sha256": event.phone_sha256}
    return {name: short_hash(sha256) for name, sha256 in hashes.items() if sha256}


def _utc(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")
