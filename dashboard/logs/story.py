"""What happened to one delivery, step by step, with what was sent and what Microsoft answered. No HTML here."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from dashboard import wording
from dashboard.logs.by_whom import Deed, named
from forwarding.errors import (
    HOLDS,
    IN_REPORTS_LATER,
    REPORTS_LAG,
    explain,
    is_parked,
    lacks_order,
    takes_another_click,
    waits_for_somebody,
    what_next,
    words_for,
    words_of,
)
from forwarding.goal_changes import GOAL_NAME_CODES
from forwarding.hands.actions import corrections_of
from forwarding.hands.rules import Action
from forwarding.models import (
    Attempt,
    Attribution,
    ClickSource,
    Delivery,
    Hold,
    Kind,
    Operation,
    Said,
    Skip,
    Status,
    Upload,
)
from forwarding.planning.conversions import Settle
from forwarding.sending.claims import EXPIRED_SYMBOL
from forwarding.tasks import to_adjustment, to_conversion
from forwarding.unattributed import added_up
from ingest.models import Consent, ConsentPolicy, Source
from integrations.microsoft_ads.errors import what_to_do
from integrations.microsoft_ads.wire import adjustments_body, conversions_body
from integrations.models import ValueRule

HASH_MEMBERS = ("HashedEmailAddress", "HashedPhoneNumber")
MAX_ANSWER_CHARS = 20_000
SAME_MOMENT = timedelta(minutes=1)
# What a page leaves in the database: the ids of a thousand rows, and Microsoft's answer about all of them.
HEAVY_COLUMNS = ("upload__delivery_ids", "upload__answer")


@dataclass(frozen=True)
class Step:
    """A point of the timeline. `look` is a status, for the pin's colour; `is_next` is still to come."""

    look: str
    icon: str
    what: str
    at: datetime | None = None
    facts: str = ""
    text: str = ""
    is_next: bool = False


@dataclass(frozen=True)
class Notice:
    """What happened, why, and what to do, with the page where it is done ("" where none is)."""

    look: str
    title: str
    text: str
    page: str = ""


_POSSIBLY_TWICE = Notice(
    "warn",
    "Possibly sent twice",
    "A call that carried it brought no answer, so it was sent again. It has no click ID, and Microsoft does not say "
    "that it would know such a conversion again, so it may count it twice.",
)


@dataclass(frozen=True)
class Exchange:
    """One delivery's part of a call: the request, and what came back. Texts are JSON, or a sentence."""

    request_title: str
    request: str
    answer_title: str = ""
    answer: str = ""
    answer_note: str = ""
    upload: Upload | None = None

    @property
    def rows(self) -> int:
        """Return how many conversions the call carried."""
        return len(self.upload.delivery_ids) if self.upload else 0


def attempts_of(delivery: Delivery) -> list[Attempt]:
    """Return the outcomes that were not a delivery, oldest first, each with its call."""
    return list(delivery.attempt_rows.select_related("upload").defer(*HEAVY_COLUMNS).order_by("created_at", "pk"))


def corrections(delivery: Delivery) -> list[Delivery]:
    """Return what was said about a conversion after it happened, in the order in which it was said."""
    rows = corrections_of([delivery]).select_related("correction__said_by", "event", "last_upload")
    found = list(rows.defer(*(f"last_{name}" for name in HEAVY_COLUMNS)))
    for row in found:
        row.account = delivery.account
    return found


def notice(delivery: Delivery, done: Sequence[Deed], now: datetime, zone: ZoneInfo) -> Notice | None:
    """Return what a person should know first; None for a delivery that needs no words. `done` is what people did."""
    words = explain(delivery, _goal_names(delivery))
    if words is None:
        return _POSSIBLY_TWICE if delivery.possibly_twice else _in_reports_later(delivery, now)
    words = named(words, delivery, done, zone, now)
    follows = what_next(
        delivery,
        now,
        lambda moment: wording.clock(moment, zone, now),
        lambda moment: wording.day(moment, zone, now),
    )
    text = " ".join(part for part in (words.cause, words.fix, follows) if part)
    stopped = waits_for_somebody(delivery)
    looks = {Status.FAILED: "bad", Status.RETRYING: "warn", Status.SKIPPED: "info"}
    look = "warn" if stopped else looks.get(Status(delivery.status), "info")
    if delivery.possibly_twice:
        text = f"{text} {_POSSIBLY_TWICE.text}"
    return Notice(look, words.title, text, "imports" if takes_another_click(delivery, now) else words.page)


def events_value(delivery: Delivery) -> Decimal | None:
    """Return what its event said it is worth, where another value is sent: a new total came first, or by the mapping.

    None where the two agree, and for a correction.
    """
    said = delivery.event.value
    return said if delivery.kind == Kind.CONVERSION and said != delivery.value else None


def _goal_names(delivery: Delivery) -> list[str]:
    """Return the names that a goal which Microsoft does not know may have meant; none where that is not the trouble."""
    if delivery.error_code not in GOAL_NAME_CODES:
        return []
    return list(delivery.account.goals.filter(gone_at__isnull=True, status="Active").values_list("name", flat=True))


def _in_reports_later(delivery: Delivery, now: datetime) -> Notice | None:
    """Return what somebody who looks for it in Microsoft Ads should know, as long as it may not be there."""
    is_new = delivery.delivered_at is not None and now - delivery.delivered_at < REPORTS_LAG
    if not is_new or delivery.retracted_at is not None:
        return None
    return Notice("info", IN_REPORTS_LATER.title, IN_REPORTS_LATER.cause)


def timeline(
    delivery: Delivery, attempts: Sequence[Attempt], corrected: Sequence[Delivery], done: Sequence[Deed], now: datetime
) -> list[Step]:
    """Return the delivery's life so far, what people did to it by hand, what comes next, and its corrections last.

    Reads `delivery.event`, `account` and `last_upload`.
    """
    event = delivery.event
    steps = []
    if delivery.clicked_at is not None:
        steps.append(
            Step("pending", "click", "Ad clicked", delivery.clicked_at, facts=ClickSource(delivery.click_source).label)
        )
    if abs(event.received_at - event.occurred_at) > SAME_MOMENT:
        steps.append(Step("pending", "receipt", "Conversion happened", event.occurred_at))
    source = event.get_source_display()
    steps.append(Step("pending", "cloud-up", "Event received", event.received_at, facts=source))
    steps += [_consent(delivery), *_mapped(delivery), *_waited(delivery, attempts)]
    steps += [_attempted(number, attempt) for number, attempt in enumerate(attempts, 1)]
    steps += [_by_hand(deed) for deed in done]
    so_far = [*sorted(steps, key=lambda step: step.at or now), *_outcome(delivery, len(attempts), now)]
    home = delivery.account.site.currency
    return so_far + [step for row in corrected for step in (_said(row, home), _became(row, home, now))]


def _consent(delivery: Delivery) -> Step:
    event, policy = delivery.event, ConsentPolicy(delivery.account.site.consent_policy)
    if event.consent == Consent.GRANTED:
        return Step("delivered", "check", "Ad consent given", event.received_at)
    if event.consent == Consent.DENIED:
        return Step("skipped", "minus", "Ad consent refused", event.received_at)
    counts_as = "refused" if policy is ConsentPolicy.REQUIRE else "given"
    text = f"The event does not say. This site’s policy now counts that as {counts_as}."
    return Step("pending", "help-circle", "No word on ad consent", event.received_at, text=text)


def _mapped(delivery: Delivery) -> list[Step]:
    """Return the step at which it got its goal; nothing for what has none."""
    if not delivery.goal_name:
        return []
    rule = ValueRule(delivery.value_rule)
    facts = [delivery.event.name, *([] if rule is ValueRule.EVENT else [rule.label.lower()])]
    if delivery.msclkid and delivery.clicked_at is None:
        facts.append(f"click ID: {ClickSource(delivery.click_source).label.lower()}")
    what = f"Mapped to “{delivery.goal_name}”"
    return [Step("pending", "arrow-right", what, delivery.created_at, facts=" · ".join(facts))]


def _waited(delivery: Delivery, attempts: Sequence[Attempt]) -> list[Step]:
    """Return the wait before the first call, where there was one that is worth a word."""
    calls = [attempt.upload.started_at for attempt in attempts]
    if delivery.last_upload is not None:
        calls.append(delivery.last_upload.started_at)
    first = min(calls, default=delivery.delivered_at)
    if first is None or first - delivery.created_at < SAME_MOMENT:
        return []
    what = f"Waited {wording.duration((first - delivery.created_at).total_seconds())}"
    ready = delivery.clicked_at and delivery.clicked_at + Settle.from_settings().click
    is_for_click = ready is not None and delivery.created_at < ready <= first
    text = HOLDS[Hold.CLICK_SETTLING].cause if is_for_click else ""
    return [Step("pending", "hourglass", what, delivery.created_at, text=text)]


def _by_hand(deed: Deed) -> Step:
    if deed.action is None:
        return Step("pending", "player-pause", "Forwarding paused", deed.at, facts=f"by {deed.who}")
    icon = {Action.HOLD: "player-pause", Action.RELEASE: "player-play", Action.CANCEL: "ban"}.get(
        deed.action, "refresh"
    )
    return Step("pending", icon, f"{deed.action.done.capitalize()} by hand", deed.at, facts=f"by {deed.who}")


def attributed(delivery: Delivery, now: datetime) -> Step | None:
    """Return what Microsoft reports of the goal's uploads of that day: it says nothing about a single conversion.

    None for what Microsoft does not have. One query.
    """
    if delivery.delivered_at is None or delivery.goal is None:
        return None
    day = delivery.delivered_at.astimezone(UTC).date()
    told = Attribution.objects.filter(account=delivery.account, goal_id=delivery.goal.goal_id, day=day).first()
    if told is None:
        is_coming = now - delivery.delivered_at < REPORTS_LAG
        text = "Microsoft reports attribution per goal and day, and has not reported this day yet."
        if is_coming:
            return Step("pending", "", "Attribution not reported yet", text=text, is_next=True)
        return Step("skipped", "minus", "Attribution not reported", text=_why_not_reported(delivery))
    of = told.success + told.unattributed
    text = (
        f"Microsoft reports attribution per goal and day, not per conversion: of {of:,} uploaded to "
        f"“{told.goal_name}” on {told.day:%b} {told.day.day}, it attributed {told.success:,}."
    )
    reasons = [f"{reason.title} ({count:,})" for reason, count in added_up([told.reasons])]
    if reasons:
        text = f"{text} Why not the others: {', '.join(reasons)}."
    return Step("pending", "scale", "Attribution reported", told.read_at, text=text)


def _why_not_reported(delivery: Delivery) -> str:
    if delivery.account.report_read_at is None:
        return "Microsoft’s report of this account could not be read yet. The page Reconciliation says why."
    return (
        "Microsoft’s report has nothing of this goal on the day on which it accepted the conversion, so nobody knows "
        "whether it was attributed. What the report says later is still read."
    )


def _said(row: Delivery, home: str) -> Step:
    line = row.correction
    worth = "everything" if line.value is None else wording.money(line.value, line.currency, home)
    icon, what = {
        Said.REFUND: ("receipt", f"Refund of {worth} received"),
        Said.RESTATE: ("pencil", f"New total of {worth}"),
        Said.RETRACT: ("arrow-back-up", "Retraction asked for"),
        Said.ORDER: ("pencil", f"The backend says {worth}"),
    }[Said(line.said)]
    return Step("skipped", icon, what, line.created_at, facts=_by_whom(row))


def _by_whom(row: Delivery) -> str:
    line = row.correction
    if line.said_by is not None:
        return f"by {line.said_by.get_full_name() or line.said_by.email}"
    source = Source(row.event.source) if line.said in (Said.REFUND, Said.ORDER) else Source.SERVER
    return source.label


def _became(row: Delivery, home: str, now: datetime) -> Step:
    is_retraction = row.kind == Kind.RETRACT
    worth = wording.money(row.value, row.currency, home)
    words = words_of(row)
    title = words.title if words else ""
    match Status(row.status):
        case Status.DELIVERED:
            facts = " · ".join(_call_facts(row.last_upload)) if row.last_upload else ""
            if is_retraction:
                return Step("retracted", "arrow-back-up", "Retracted, accepted", row.delivered_at, facts)
            return Step("restated", "pencil", f"Restated to {worth}, accepted", row.delivered_at, facts)
        case Status.SKIPPED:
            return Step("skipped", "minus", "Nothing was sent", text=title)
        case Status.FAILED:
            what = "Retract failed" if is_retraction else f"Restate to {worth} failed"
            return Step("failed", "x", what, row.changed_at, text=title)
    what = "Retraction goes out" if is_retraction else f"Restatement to {worth} goes out"
    return Step("pending", "", what, _goes_out_at(row, now), text=title, is_next=True)


def _goes_out_at(row: Delivery, now: datetime) -> datetime | None:
    """Return when a correction is sent; None while that is not known, or now."""
    return None if is_parked(row) or row.next_attempt_at is None or row.next_attempt_at <= now else row.next_attempt_at


def _attempted(number: int, attempt: Attempt) -> Step:
    looks = {
        Attempt.Outcome.REFUSED: Step("failed", "x", "refused"),
        Attempt.Outcome.RETRY: Step("retrying", "refresh", "not taken"),
        Attempt.Outcome.UNKNOWN: Step("retrying", "help-circle", "outcome unknown"),
    }
    look = looks[Attempt.Outcome(attempt.outcome)]
    code = f"code {attempt.error_code}" if attempt.error_code is not None else attempt.error_symbol
    title = ""
    if attempt.error_code is not None or attempt.error_symbol:
        title = words_for(attempt.error_code, attempt.error_symbol).title
    facts = " · ".join(part for part in (*_call_facts(attempt.upload), code) if part)
    return Step(look.look, look.icon, f"Attempt {number} {look.what}", attempt.created_at, facts, title)


def _outcome(delivery: Delivery, tried: int, now: datetime) -> list[Step]:
    words = words_of(delivery)
    title = words.title if words else ""
    match Status(delivery.status):
        case Status.DELIVERED:
            facts = " · ".join(_call_facts(delivery.last_upload)) if delivery.last_upload else ""
            return [Step("delivered", "check", "Accepted by Microsoft", delivery.delivered_at, facts)]
        case Status.SKIPPED:
            came_later = delivery.skip_reason in (Skip.CALLED_OFF, Skip.CANCELLED, Skip.UNCONFIRMED)
            at = delivery.changed_at if came_later else delivery.created_at
            return [Step("skipped", "minus", "Not forwarded", at, text=title)]
        case Status.FAILED:
            is_final = what_to_do(delivery.error_code, delivery.error_symbol).permanent
            text = (
                "Microsoft’s answer is final for this conversion." if is_final else "Trying again cannot fix the cause."
            )
            if takes_another_click(delivery, now):
                text = "Sending the same again cannot help: it takes another click ID."
            if tried == 0 or delivery.error_symbol == EXPIRED_SYMBOL:
                text = title
            return [Step("failed", "player-pause", "Stopped", delivery.changed_at, text=text)]
    if lacks_order(delivery):
        text = f"No order {delivery.transaction_id} has come yet."
        return [Step("pending", "hourglass", "Dropped if none comes", delivery.expires_at, text=text, is_next=True)]
    if waits_for_somebody(delivery):
        text = ". ".join(part for part in (title, words.fix if words else "") if part)
        return [Step("pending", "hourglass", "Waits", text=text, is_next=True)]
    if is_parked(delivery):
        return [Step("pending", "hourglass", "Goes out after its conversion", text=title, is_next=True)]
    if delivery.next_attempt_at is not None and delivery.next_attempt_at > now:
        what = f"Attempt {tried + 1} in {wording.duration((delivery.next_attempt_at - now).total_seconds())}"
        return [Step("pending", "", what, delivery.next_attempt_at, text=title, is_next=True)]
    return [Step("pending", "", "Goes out with the next batch", is_next=True)]


def _call_facts(upload: Upload) -> list[str]:
    facts = [f"HTTP {upload.http_status}"] if upload.http_status else []
    return facts if upload.seconds is None else [wording.duration(upload.seconds), *facts]


def exchange(delivery: Delivery) -> Exchange | None:
    """Return the request of this one row, and the answer about it; None for what is not sent.

    The request is made from the same frozen columns as the bytes on the wire; only hashes of people are shortened.
    """
    if delivery.status == Status.SKIPPED or lacks_order(delivery):
        return None
    is_conversion = delivery.kind == Kind.CONVERSION
    operation = Operation.CONVERSIONS if is_conversion else Operation.ADJUSTMENTS
    request = request_of(delivery)
    upload = delivery.last_upload
    if upload is None:
        return Exchange(f"Request to {operation.label}, not sent yet", request)
    status = f"HTTP {upload.http_status}" if upload.http_status else "No answer"
    title = f"Request to {operation.label}"
    if delivery.status == Status.DELIVERED:
        row = "conversion" if is_conversion else "correction"
        note = f"Microsoft accepted it: no entry for this {row} in PartialErrors."
        return Exchange(title, request, f"Response · {status}", answer_note=note, upload=upload)
    answer, note = _answer_about(delivery, upload)
    return Exchange(title, request, f"Response · {status}", answer, note, upload)


def request_of(delivery: Delivery) -> str:
    """Return what Microsoft is sent of a conversion or a correction, as JSON with its hashes shortened."""
    is_conversion = delivery.kind == Kind.CONVERSION
    sent = conversions_body([to_conversion(delivery)]) if is_conversion else adjustments_body([to_adjustment(delivery)])
    body = _shortened(json.loads(sent))
    return json.dumps(body, indent=2, ensure_ascii=False)


def _shortened(body: dict[str, list[dict[str, object]]]) -> dict[str, list[dict[str, object]]]:
    """Shorten the hashes: they are personal data, and enough of them is left to compare."""
    for rows in body.values():
        for row in rows:
            row.update({name: f"{str(row[name])[:4]}…{str(row[name])[-4:]}" for name in HASH_MEMBERS if name in row})
    return body


def _answer_about(delivery: Delivery, upload: Upload) -> tuple[str, str]:
    """Return what Microsoft said about this row, of an answer about all rows of a call, or a sentence instead."""
    if not upload.answer:
        return "", upload.error or "Microsoft’s answer was not kept."
    try:
        answer = json.loads(upload.answer)
    except ValueError:
        return upload.answer[:MAX_ANSWER_CHARS], ""
    if isinstance(answer, dict) and isinstance(answer.get("PartialErrors"), list):
        index = upload.delivery_ids.index(delivery.pk) if delivery.pk in upload.delivery_ids else None
        mine = [one for one in answer["PartialErrors"] if isinstance(one, dict) and one.get("Index") == index]
        answer = {**answer, "PartialErrors": mine}
    return json.dumps(answer, indent=2, ensure_ascii=False)[:MAX_ANSWER_CHARS], ""
