"""What a person reads before and after doing something to deliveries by hand. Pure; the rules are rules.py's."""

from collections import Counter
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import NamedTuple

from forwarding.hands.actions import Tally
from forwarding.hands.rules import Action, WhyNot

# How a page writes sums of money, by currency.
Sums = Callable[[dict[str, Decimal]], str]


class Line(NamedTuple):
    """A line of a forecast: `look` is ok, warn, bad or wait."""

    look: str
    text: str
    note: str = ""


def forecast(tally: Tally, sums: Sums, others: str = "do it again for the others") -> list[Line]:
    """Return what an action would do, the good first; `sums` writes money.

    `others` is what becomes of those that were not looked at.
    """
    lines = []
    if tally.able:
        can = "succeed" if tally.action is Action.RETRY else f"be {tally.action.done}"
        lines.append(Line("ok", f"{tally.able:,} can {can}", sums(tally.values) if tally.values else ""))
    lines += [
        Line("wait", f"{count:,} of them go to “{goal}”", "not the goal or name before")
        for goal, count in _most(tally.moved)
    ]
    lines += [Line("wait", f"{count:,} of them wait on", _lower(stop)) for stop, count in _most(tally.stopped)]
    refused = sorted(tally.refused.items(), key=lambda pair: (not pair[0].would_fail_again, -pair[1], pair[0].because))
    lines += [
        Line(_look(reason), f"{count:,} {refusal(tally.action, reason)}", reason.because) for reason, count in refused
    ]
    if not tally.is_all:
        lines.append(Line("warn", f"Only the first {tally.looked_at:,} are looked at", others))
    return lines


def refusal(action: Action, reason: WhyNot) -> str:
    """Return what a reason stands in the way of, after a number: "will fail again", "cannot be held"."""
    return "will fail again" if reason.would_fail_again else f"cannot be {action.done}"


def refused_sentence(action: Action, reason: WhyNot) -> str:
    """Return why one conversion stays as it is."""
    will = "would fail again" if reason.would_fail_again else f"cannot be {action.done}"
    return f"It {will}: {reason.because}."


def outcome(tally: Tally) -> str:
    """Return what was done: "3 retried, 2 left as they were: delivered already"."""
    refused = Counter({reason.because: count for reason, count in tally.refused.items()})
    return done_sentence(tally.action, tally.able, refused)


def done_sentence(action: Action, changed: int, refused: Mapping[str, int]) -> str:
    """Return what was done to how many, and why not to the others: `refused` counts them by reason."""
    done = f"{changed:,} {action.done}"
    if not refused:
        return done
    left = sum(refused.values())
    because = ", ".join(reason for reason, _ in _most(refused))
    return f"{done}, {left:,} left as {'it was' if left == 1 else 'they were'}: {because}"


def _look(reason: WhyNot) -> str:
    return "warn" if reason.would_fail_again else "bad"


def _most(counted: Mapping[str, int]) -> list[tuple[str, int]]:
    return sorted(counted.items(), key=lambda pair: (-pair[1], pair[0]))


def _lower(title: str) -> str:
    return title[:1].lower() + title[1:]
