"""What happened to one delivery, step by step, with what was sent and what Microsoft answered. No HTML here."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from dashboard import wording
from dashboard.forward_logs import sent_at
from forwarding.errors import explain, waits_for_somebody, what_next, words_for, words_of
from forwarding.hands.actions import corrections_of
from forwarding.models import Attempt, ClickSource, Delivery, Kind, Operation, Said, Skip, Status, Upload
from forwarding.tasks import to_conversion
from forwarding.times import CLOCK_MARGIN
from ingest.models import Source
from integrations.microsoft_ads.errors import what_to_do
from integrations.microsoft_ads.wire import conversions_body

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


def notice(delivery: Delivery, now: datetime, zone: ZoneInfo) -> Notice | None:
    """Return what a person should know first; None for a delivery that needs no words."""
    words = explain(delivery)
    if words is None:
        return _POSSIBLY_TWICE if delivery.possibly_twice else None
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
    return Notice(look, words.title, text, words.page)


def timeline(
    delivery: Delivery, attempts: Sequence[Attempt], corrected: Sequence[Delivery], now: datetime
) -> list[Step]:
    """Return the delivery's life so far and what comes next, its corrections last.

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
    steps += [_attempted(number, attempt) for number, attempt in enumerate(attempts, 1)]
    so_far = [*sorted(steps, key=lambda step: step.at or now), *_outcome(delivery, len(attempts), now)]
    home = delivery.account.site.currency
    return so_far + [step for row in corrected for step in (_said(row, home), _became(row, home, now))]


def _said(row: Delivery, home: str) -> Step:
    line = row.correction
    worth = "everything" if line.value is None else wording.money(line.value, line.currency, home)
    icon, what = {
        Said.REFUND: ("receipt", f"Refund of {worth} received"),
        Said.RESTATE: ("pencil", f"New total of {worth}"),
        Said.RETRACT: ("arrow-back-up", "Said not to count"),
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
    is_parked = row.expires_at is not None and row.next_attempt_at == row.expires_at - CLOCK_MARGIN
    return None if is_parked or row.next_attempt_at is None or row.next_attempt_at <= now else row.next_attempt_at


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
            if tried == 0:
                text = title
            return [Step("failed", "player-pause", "Stopped", delivery.changed_at, text=text)]
    if waits_for_somebody(delivery):
        return [Step("pending", "hourglass", "Waits", text=title, is_next=True)]
    if delivery.next_attempt_at is not None and delivery.next_attempt_at > now:
        what = f"Attempt {tried + 1} in {wording.duration((delivery.next_attempt_at - now).total_seconds())}"
        return [Step("pending", "", what, delivery.next_attempt_at, text=title, is_next=True)]
    return [Step("pending", "", "Goes out with the next batch", is_next=True)]


def _call_facts(upload: Upload) -> list[str]:
    facts = [f"HTTP {upload.http_status}"] if upload.http_status else []
    return facts if upload.seconds is None else [wording.duration(upload.seconds), *facts]


def exchange(delivery: Delivery) -> Exchange | None:
    """Return the request of this one row, and the answer about it; None for what is not sent as a conversion.

    The request is made from the same frozen columns as the bytes on the wire; only hashes of people are shortened.
    """
    if delivery.status == Status.SKIPPED or delivery.kind != Kind.CONVERSION:
        return None
    request = json.dumps(
        _shortened(json.loads(conversions_body([to_conversion(delivery)]))), indent=2, ensure_ascii=False
    )
    upload = delivery.last_upload
    if upload is None or sent_at(delivery) is None:
        return Exchange(f"Request to {Operation.CONVERSIONS.label}, not sent yet", request)
    status = f"HTTP {upload.http_status}" if upload.http_status else "No answer"
    title = f"Request to {Operation.CONVERSIONS.label}"
    if delivery.status == Status.DELIVERED:
        note = "Microsoft accepted it: no entry for this conversion in PartialErrors."
        return Exchange(title, request, f"Response · {status}", answer_note=note, upload=upload)
    answer, note = _answer_about(delivery, upload)
    return Exchange(title, request, f"Response · {status}", answer, note, upload)


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
