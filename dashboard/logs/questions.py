"""What is asked before something is done to conversions by hand, and what is said afterwards. No HTML, no rows."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

from dashboard import wording
from dashboard.asking import Question
from forwarding.errors import account_stop, words_of
from forwarding.hands.actions import Tally
from forwarding.hands.rules import Action, Facts, WhyNot, moves_to, value_now
from forwarding.hands.words import forecast, outcome, refused_sentence
from forwarding.models import WAITING, Delivery, Kind, Status

# Typed before a retraction of an order without a transaction ID.
RETRACT_WORD = "retract"


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


def about_all(tally: Tally, total: int, status: str, account_name: str, home: str) -> Question:
    """Return what to ask before something is done to every row of a filter: the forecast.

    `total` is how many rows there are, 0 when nobody counted them; `status` narrows them, "" for any.
    """
    action, number = tally.action, total or tally.looked_at
    many = "" if number == 1 else "s"
    more = "" if total or tally.is_all else "+"
    kind = f"{Status(status).label.lower()} " if status else "failed or retrying " if action is Action.RETRY else ""
    title = f"{action.label} {number:,}{more} {kind}conversion{many}?"
    return _about(tally, title, number, account_name, home)


def about_chosen(tally: Tally, left_out: int, account_name: str, home: str) -> Question:
    """Return what to ask before something is done to rows that a person chose one by one.

    `left_out` is how many of them are more than can be taken at once.
    """
    number = tally.looked_at
    if not number:
        return Question(
            f"{tally.action.label}: nothing is selected", ("Select conversions in the list first.",), keep="Close"
        )
    title = f"{tally.action.label} {number:,} selected conversion{'' if number == 1 else 's'}?"
    asked = _about(tally, title, number, account_name, home)
    if not left_out:
        return asked
    more = f"No more than {number:,} are taken at once: {left_out:,} of those that you selected stay as they are."
    return replace(asked, texts=(more, *asked.texts))


def done_to_chosen(tally: Tally) -> tuple[str, str]:
    """Return a toast's title and text: to how many it was done, and what comes next or why not the others."""
    if not tally.able:
        return "Nothing was changed", f"{_capital(outcome(tally))}."
    title = f"{tally.able:,} {tally.action.done}"
    return title, f"{_capital(outcome(tally))}." if tally.refused else _AFTER[tally.action]


def _about(tally: Tally, title: str, number: int, account_name: str, home: str) -> Question:
    """Return the forecast of one action for `number` conversions."""
    action = tally.action
    lines = forecast(tally, lambda values: wording.sums(values, home), "all of them are gone through")
    if not tally.able and tally.is_all:
        can = "succeed now" if action is Action.RETRY else f"be {action.done}"
        return Question(title, (f"None of them can {can}.",), keep="Close", lines=lines)
    can = "that can succeed" if action is Action.RETRY else f"that can be {action.done}"
    those = f"the {tally.able:,} {can}" if tally.refused else "it" if number == 1 else "all of them"
    return Question(
        title,
        _ABOUT_ALL[action],
        keep="Leave them",
        do=f"{action.label} {those if tally.is_all else f'those {can}'}",
        is_danger=action in (Action.CANCEL, Action.RETRACT),
        type_to_confirm=account_name.strip() if action is Action.RETRACT else "",
        asks_value=action is Action.RESTATE,
        currency="each in its own currency" if action is Action.RESTATE else "",
        lines=lines,
    )


_AFTER: dict[Action, str] = {
    Action.RETRY: "They go out with the next batch, or as soon as Microsoft takes them.",
    Action.HOLD: "They are not sent until somebody releases them.",
    Action.RELEASE: "They go out with the next batch, or as soon as Microsoft takes them.",
    Action.CANCEL: "Microsoft never hears of them.",
    Action.RESTATE: "Microsoft is told the new value.",
    Action.RETRACT: "Microsoft is told that they do not count.",
}
_ABOUT_ALL: dict[Action, tuple[str, ...]] = {
    Action.RETRY: (),
    Action.HOLD: ("They are not sent until somebody releases them. After 90 days they are too old for Microsoft.",),
    Action.RELEASE: ("They go out with the next batches, or as soon as Microsoft takes them.",),
    Action.CANCEL: (
        "Microsoft never hears of these conversions.",
        "Their orders stay taken: another event of them is not forwarded either. This cannot be undone.",
    ),
    Action.RESTATE: ("Every one of these conversions gets the same new value, whatever it was worth before.",),
    Action.RETRACT: (
        "Microsoft will stop counting these conversions.",
        "A retraction cannot be undone: the same conversions cannot be sent again.",
    ),
}


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
