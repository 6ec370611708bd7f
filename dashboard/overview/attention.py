"""What needs a person on a site, worst first: facts in, sentences with one button out.

Pure: `dashboard/overview/views.py` gathers the facts, from the modules that know each.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from django.http import QueryDict

from dashboard import wording
from dashboard.charts import short_day
from dashboard.health import is_silent
from dashboard.install.checklist import Check
from dashboard.overview.figures import FailingGoal
from forwarding.alerts.causes import Expiring
from forwarding.errors import held_for_somebody
from forwarding.goal_names import quoted
from forwarding.models import Hold
from forwarding.money import Money, added_money
from integrations.models import AdAccount, Connection

SHOWN = 5


class Badge(NamedTuple):
    """How a line's badge looks: a status's colours, and a picture."""

    look: str
    icon: str


# By what a line is about, in the word on its badge.
BADGES = {
    "Expiring": Badge("failed", icon="clock"),
    "Reconnect": Badge("failed", icon="unlink"),
    "Turned away": Badge("failed", icon="ban"),
    "Permission": Badge("failed", icon="lock"),
    "Account": Badge("failed", icon="lock"),
    "Access": Badge("failed", icon="lock"),
    "Failed": Badge("failed", icon="x"),
    "Goal mapping": Badge("retrying", icon="tag"),
    "Operator": Badge("retrying", icon="hourglass"),
    "Refunds": Badge("retrying", icon="receipt"),
    "Silent": Badge("retrying", icon="activity"),
    "Blocked": Badge("retrying", icon="ban"),
    "Paused": Badge("pending", icon="player-pause"),
    "Set up": Badge("skipped", icon="settings"),
}


_ABOUT = {Hold.PERMISSION: "Permission", Hold.ACCOUNT_INACTIVE: "Account", Hold.OPERATOR: "Access"}


@dataclass(frozen=True, slots=True)
class Need:
    """A line: what it is `about`, what happened, and why, until when and what to do; `do` is its button's label.

    Without `href` there is nothing for the reader to press.
    """

    about: str
    title: str
    text: str
    href: str = ""
    do: str = ""

    @property
    def badge(self) -> Badge:
        """Return how its badge looks."""
        return BADGES[self.about]


@dataclass(frozen=True, slots=True)
class Waiting:
    """What waits in an account: how many, worth what, and when the first is too old for Microsoft."""

    count: int = 0
    values: Money = field(default_factory=dict)
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a line leads; an account's pages by the account's key."""

    integrations: str
    install: str
    accounts: Mapping[int, str]
    mappings: Mapping[int, str]
    logs: Mapping[int, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known. Accounts come from `with_health`; `waiting` and `expiring` by an account's key.

    `untold` are refunds of delivered orders that an account does not map, by its key. `door` are the checks of what
    the door turns away; `last_day` is the newest day with an event, None for none.
    """

    accounts: Sequence[AdAccount]
    waiting: Mapping[int, Waiting] = field(default_factory=dict)
    expiring: Mapping[int, Expiring] = field(default_factory=dict)
    failing: Sequence[FailingGoal] = ()
    untold: Mapping[int, int] = field(default_factory=dict)
    door: Sequence[Check] = ()
    last_day: date | None = None
    currency: str = ""
    zone: ZoneInfo
    now: datetime


def needs(facts: Facts, to: Addresses) -> list[Need]:
    """Return everything that needs somebody, worst first: what is lost by waiting, then what stands still."""
    return [
        *_expiring(facts, to),
        *_sign_ins(facts, to),
        *_door(facts, to, "bad"),
        *_held(facts, to),
        *_goals(facts, to),
        *_failing(facts, to),
        *_untold(facts, to),
        *_silence(facts, to),
        *_door(facts, to, "warn"),
        *_paused(facts, to),
        *_unmapped(facts, to),
    ]


def _expiring(facts: Facts, to: Addresses) -> Iterator[Need]:
    for account in facts.accounts:
        if found := facts.expiring.get(account.pk):
            worth = _worth(found.values, facts)
            yield Need(
                "Expiring",
                f"{_conversions(found.count)} of {account.name} about to expire",
                f"Microsoft counts none that is older than 90 days. The first{worth and f' of them{worth}'} has to go"
                f" out by {_day(found.first_at, facts)}. Why: {'; '.join(found.reasons)}.",
                f"{to.logs[account.pk]}?status=pending&period=all",
                "See what waits",
            )


def _sign_ins(facts: Facts, to: Addresses) -> Iterator[Need]:
    ended: dict[int, list[AdAccount]] = {}
    for account in facts.accounts:
        if account.connection.status == Connection.Status.NEEDS_RECONNECT:
            ended.setdefault(account.connection_id, []).append(account)
    for accounts in ended.values():
        connection = accounts[0].connection
        names = wording.listed([account.name for account in accounts])
        since = f" on {wording.sentence(connection.failed_at, facts.zone, facts.now)}" if connection.failed_at else ""
        yield Need(
            "Reconnect",
            f"{names} lost access to Microsoft Advertising{since}",
            f"The sign-in of {connection} ended. {_kept(accounts, facts, 'when you reconnect', 'Reconnect')}",
            to.integrations,
            "Reconnect",
        )
    for account in facts.accounts:
        if account.connection.status == Connection.Status.NEEDS_OPERATOR:
            yield Need(
                "Operator",
                f"{account.name} waits for the operator of this server",
                f"Convultra’s own registration at Microsoft is not in order. {_kept([account], facts, 'once it is')}",
            )


def _held(facts: Facts, to: Addresses) -> Iterator[Need]:
    for account in facts.accounts:
        words = held_for_somebody(account)
        if words is not None:
            way_on = to.integrations if words.page == "integrations" else to.accounts[account.pk]
            is_ours = account.hold_reason == Hold.OPERATOR and not words.page
            yield Need(
                "Operator" if is_ours else _ABOUT[Hold(account.hold_reason)],
                f"{account.name}: {words.title}",
                f"{words.cause} {words.fix} {_kept([account], facts, 'then')}",
                way_on,
                "Open integrations" if way_on == to.integrations else "Open account",
            )


def _goals(facts: Facts, to: Addresses) -> Iterator[Need]:
    for account in facts.accounts:
        broken, mapped = getattr(account, "broken", 0), getattr(account, "mapped", 0)
        if broken:
            yield Need(
                "Goal mapping",
                f"{broken} of {mapped} goal{'s' if mapped > 1 else ''} of {account.name} cannot be used",
                "Microsoft takes no conversions for a goal that is gone or paused. Map its events to another one; what"
                " waits for it goes out then.",
                to.mappings[account.pk],
                "Fix mapping",
            )


def _failing(facts: Facts, to: Addresses) -> Iterator[Need]:
    for account, goal, count in facts.failing:
        yield Need(
            "Failed",
            f"{_conversions(count)} for {quoted(goal)} failed in {account.name}",
            "In the last 7 days. Forward Logs say of each why, and which can be sent again.",
            f"{to.logs[account.pk]}?{_query(goal)}",
            "See why",
        )


def _untold(facts: Facts, to: Addresses) -> Iterator[Need]:
    for account in facts.accounts:
        if count := facts.untold.get(account.pk, 0):
            were = "refund was" if count == 1 else "refunds were"
            yield Need(
                "Refunds",
                f"{count:,} {were} not told to Microsoft in {account.name}",
                "In the last 7 days. Microsoft still counts their orders in full. Map “refund” to any goal, and it is"
                " told of those that come from then on.",
                to.mappings[account.pk],
                "Map refund",
            )


def _door(facts: Facts, to: Addresses, state: str) -> Iterator[Need]:
    about = "Turned away" if state == "bad" else "Blocked"
    for check in facts.door:
        if check.state == state:
            names = wording.listed([one.origin for one in check.blocked[:3]])
            text = f"{check.text} {names}." if names else check.text
            yield Need(about, check.title, text, to.install, "Open Install SDK")


def _silence(facts: Facts, to: Addresses) -> Iterator[Need]:
    if facts.last_day is not None and is_silent(facts.last_day, facts.now):
        last = short_day(facts.last_day)
        yield Need(
            "Silent",
            f"No event since {last}",
            "Nothing came from your pages or your backend. If the shop is open, look whether the script is still on"
            " every page.",
            to.install,
            "Check the script",
        )


def _paused(facts: Facts, to: Addresses) -> Iterator[Need]:
    for account in facts.accounts:
        waiting = facts.waiting.get(account.pk, Waiting())
        if account.paused_at is not None and waiting.count:
            yield Need(
                "Paused",
                f"Forwarding to {account.name} is paused since {wording.day(account.paused_at, facts.zone, facts.now)}",
                _kept([account], facts, "when you resume", "Resume"),
                to.accounts[account.pk],
                "Open account",
            )


def _unmapped(facts: Facts, to: Addresses) -> Iterator[Need]:
    for account in facts.accounts:
        if not getattr(account, "mapped", 0):
            yield Need(
                "Set up",
                f"No event is mapped in {account.name}",
                "Events without a goal are not forwarded.",
                to.mappings[account.pk],
                "Map events",
            )


def _kept(accounts: Sequence[AdAccount], facts: Facts, when: str, before: str = "") -> str:
    """Say what is held and until when: 37 conversions (CA$4,182) are held and go out when you reconnect."""
    waiting = [facts.waiting.get(account.pk, Waiting()) for account in accounts]
    count = sum(one.count for one in waiting)
    if not count:
        return "New conversions are kept."
    values = added_money(one.values for one in waiting)
    until = min((one.until for one in waiting if one.until is not None), default=None)
    verb = "is held and goes" if count == 1 else "are held and go"
    text = f"{_conversions(count)}{_worth(values, facts)} {verb} out {when}."
    if until is None:
        return text
    last = _day(until, facts)
    return f"{text} {before} before {last}, or the first is lost." if before else f"{text} None is lost before {last}."


def _conversions(count: int) -> str:
    return f"{count:,} conversion{'' if count == 1 else 's'}"


def _worth(values: Money, facts: Facts) -> str:
    return f" ({wording.sums(values, facts.currency)})" if values else ""


def _day(moment: datetime, facts: Facts) -> str:
    return wording.day(moment, facts.zone, facts.now)


def _query(goal: str) -> str:
    query = QueryDict(mutable=True)
    query.update({"status": "failed", "goal": goal})
    return query.urlencode()
