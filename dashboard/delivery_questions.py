"""What is asked before something is done to conversions by hand, and what is said afterwards. No HTML, no rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from dashboard import wording
from forwarding.errors import account_stop, words_of
from forwarding.hands.actions import Tally
from forwarding.hands.rules import Action, Facts, WhyNot, moves_to, value_now
from forwarding.hands.words import Line, forecast, refused_sentence
from forwarding.models import WAITING, Delivery, Kind, Status

# Typed before a retraction of an order without a transaction ID.
RETRACT_WORD = "retract"


@dataclass(frozen=True)
class Question:
    """A dialog, or the page that stands in for it. Without `do` there is nothing to confirm.

    `value_now` and `currency` are of the value that a restatement replaces.
    """

    title: str
    texts: tuple[str, ...]
    keep: str
    do: str = ""
    is_danger: bool = False
    type_to_confirm: str = ""
    asks_value: bool = False
    value_now: str = ""
    currency: str = ""
    lines: Sequence[Line] = ()


@dataclass(frozen=True)
class Asked:
    """What a question is about: one delivery with what is known of it. `settle` is Microsoft's time to process one."""

    delivery: Delivery
    facts: Facts
    now: datetime
    zone: ZoneInfo
    settle: timedelta

    @property
    def name(self) -> str:
        """Return what the person knows the conversion by."""
        return self.delivery.transaction_id or "this conversion"

    @property
    def correction(self) -> str:
        """Return what kind of correction it is, "" for a conversion."""
        return {Kind.RESTATE: "restatement", Kind.RETRACT: "retraction"}.get(Kind(self.delivery.kind), "")

    @property
    def thing(self) -> str:
        """Return the delivery as a title names it: "HP-48211", or "the retraction of HP-48211"."""
        return f"the {self.correction} of {self.name}" if self.correction else self.name

    def money(self, value: Decimal | None) -> str:
        """Write a value in the delivery's currency."""
        return wording.money(value, self.delivery.currency, self.delivery.account.site.currency)

    @property
    def worth(self) -> str:
        """Return what Microsoft counts for it now, or will."""
        return self.money(value_now(self.delivery, self.facts))


def question(action: Action, asked: Asked) -> Question:
    """Return what to ask before an action that can be done."""
    return _QUESTIONS[action](asked)


def refusal(action: Action, asked: Asked, reason: WhyNot) -> Question:
    """Return what to say where an action cannot be done."""
    title = f"{_capital(asked.thing)} cannot be {action.done}"
    return Question(title, (refused_sentence(action, reason),), keep="Close")


def done(action: Action, asked: Asked, value: Decimal | None) -> tuple[str, str]:
    """Return a toast's title and text: what was done, and what comes next, of the delivery as it is now."""
    name, thing = _capital(asked.name), _capital(asked.thing)
    return {
        Action.RETRY: ("Retry queued", f"{thing} {_next(asked)}."),
        Action.HOLD: ("Held", f"{thing} is not sent until somebody releases it."),
        Action.RELEASE: ("Released", f"{thing} {_next(asked)}."),
        Action.CANCEL: ("Cancelled", f"{thing} is not sent."),
        Action.RESTATE: ("Restatement queued", f"{name} changes from {asked.worth} to {asked.money(value)}."),
        Action.RETRACT: ("Retraction queued", f"{name} is taken back."),
    }[action]


def _next(asked: Asked) -> str:
    one = asked.delivery
    if one.status not in WAITING:
        words = words_of(one)
        return f"is not sent: {_lower(words.title)}" if words else "is not sent"
    stop = account_stop(one.account)
    if stop is not None:
        return f"waits: {_lower(stop.title)}"
    if one.next_attempt_at is not None and one.next_attempt_at > asked.now:
        return f"goes out at {wording.clock(one.next_attempt_at, asked.zone, asked.now)}"
    return "goes out with the next batch"


def retry_all(tally: Tally, status_word: str, home: str) -> Question:
    """Return what to ask before a retry of every row of a filter: the forecast."""
    many = "" if tally.looked_at == 1 else "s"
    title = f"Retry {tally.looked_at:,} {status_word.lower()} conversion{many}?"
    lines = forecast(tally, lambda values: wording.sums(values, home))
    if not tally.able:
        return Question(title, ("None of them can succeed now.",), keep="Close", lines=lines)
    some = f"the {tally.able:,} that can succeed" if tally.refused else "all of them" if many else "it"
    return Question(title, (), keep="Leave them", do=f"Retry {some}", lines=lines)


def _retry(asked: Asked) -> Question:
    texts = [f"{_capital(asked.thing)} goes out with the next batch, or as soon as Microsoft takes it ({asked.worth})."]
    if (goal := moves_to(asked.delivery, asked.facts)) is not None:
        texts = [
            f"{_capital(asked.name)} goes to “{goal.name}” instead of “{asked.delivery.goal_name}” ({asked.worth})."
        ]
    elif asked.delivery.status == Status.FAILED:
        texts.append("Microsoft refused it before. If the cause is still there, it refuses it again.")
    return Question(f"Retry {asked.thing} now?", (*texts, *_stop(asked)), keep="Leave it", do="Retry now")


def _hold(asked: Asked) -> Question:
    text = f"{_capital(asked.thing)} is not sent until somebody releases it."
    until = asked.delivery.expires_at
    lost = f"Held until {wording.day(until, asked.zone, asked.now)}, it is too old for Microsoft." if until else ""
    return Question(f"Hold {asked.thing}?", _said(text, lost), keep="Leave it", do="Hold")


def _release(asked: Asked) -> Question:
    text = f"{_capital(asked.thing)} goes out with the next batch, or as soon as Microsoft takes it."
    return Question(f"Release {asked.thing}?", (text, *_stop(asked)), keep="Keep holding", do="Release")


def _cancel(asked: Asked) -> Question:
    if asked.correction:
        text = f"Microsoft is not told of this {asked.correction}, and goes on counting the conversion as it does now."
        return Question(
            f"Cancel {asked.thing}?", (text,), keep="Leave it", do=f"Cancel {asked.correction}", is_danger=True
        )
    texts = (
        f"Microsoft never hears of this conversion ({asked.worth}).",
        "The order stays taken: another event of it is not forwarded either. This cannot be undone.",
    )
    return Question(f"Cancel {asked.name}?", texts, keep="Keep it", do="Cancel conversion", is_danger=True)


def _restate(asked: Asked) -> Question:
    text = "Microsoft replaces the value of the existing conversion; it does not count a second one."
    if asked.delivery.status != Status.DELIVERED and not asked.facts.has_arrived:
        text = "It was not sent yet, so it goes out with the new value."
    return Question(
        f"Restate the value of {asked.name}",
        ("Use this after a partial refund or a price correction.", text, *_when(asked)),
        keep="Keep the value",
        do="Restate value",
        asks_value=True,
        value_now=asked.worth,
        currency=asked.delivery.currency,
    )


def _retract(asked: Asked) -> Question:
    text = f"Microsoft will stop counting this conversion ({asked.worth})."
    return Question(
        f"Retract {asked.name}?",
        (f"{text} A retraction cannot be undone: the same conversion cannot be sent again.", *_when(asked)),
        keep="Keep it",
        do="Retract conversion",
        is_danger=True,
        type_to_confirm=asked.delivery.transaction_id.strip() or RETRACT_WORD,
    )


def _when(asked: Asked) -> tuple[str, ...]:
    """Say when a correction goes out, where that is not at once: Microsoft loses what comes before it is done."""
    one = asked.delivery
    if one.delivered_at is None:
        return ("It goes out once the conversion itself is delivered.",) if asked.facts.has_arrived else ()
    ready = one.delivered_at + asked.settle
    if ready <= asked.now:
        return _stop(asked)
    at = wording.sentence(ready, asked.zone, asked.now)
    return (f"It goes out on {at}, when Microsoft has processed the conversion.", *_stop(asked))


def _stop(asked: Asked) -> tuple[str, ...]:
    stop = account_stop(asked.delivery.account)
    return () if stop is None else (f"{stop.title}: it waits until that is over.",)


def _said(*texts: str) -> tuple[str, ...]:
    return tuple(text for text in texts if text)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


_QUESTIONS = {
    Action.RETRY: _retry,
    Action.HOLD: _hold,
    Action.RELEASE: _release,
    Action.CANCEL: _cancel,
    Action.RESTATE: _restate,
    Action.RETRACT: _retract,
}
