"""Which event goes to which goal of an account: one door that writes it, with its history."""

import re
from collections.abc import Iterable, Mapping
from copy import copy
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from difflib import SequenceMatcher
from typing import Literal, TypeAlias

from django.contrib.auth.models import User
from django.db import transaction

from ingest.audit import record
from ingest.models import REFUND_EVENT, VALUE_DECIMALS
from integrations.conditions import ConditionError, parse_condition
from integrations.models import AdAccount, ConversionGoal, GoalMapping, MappingChange, ValueRule
from integrations.signals import event_remapped

# Offered first on every mapping page; any other name that a site sends can be mapped as well.
OFFERED_EVENTS = (
    "purchase",
    "lead",
    "signup",
    "subscription",
    "qualified_lead",
    "phone_sale",
    "subscription_start",
    "refund",
)
EVENT_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}", re.ASCII)
MAX_FIXED_VALUE = Decimal(999_999_999_999)  # help:hlp_BA_CONC_UETv2OfflineConversion

Value: TypeAlias = 'Literal["event", "none"] | Decimal'


@dataclass(frozen=True, slots=True)
class Rule:
    """Where an event goes: the goal by Microsoft's id, the value that travels along, and the condition it must meet."""

    goal_id: str
    value: Value = "event"
    when: str = ""


class MappingRefused(ValueError):  # noqa: N818 - a refusal, told to the person who edits the mapping
    """A rule that cannot be kept. `field` is `event_name`, `goal`, `value` or `when`; the text is for a person."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field
        self.message = message


def set_mapping(
    account: AdAccount, event_name: str, rule: Rule | None, actor: User | None, now: datetime
) -> GoalMapping | None:
    """Make `rule` the mapping of an event name, or remove it with None; return what is in force now.

    The change and its line in the history are one commit; what changes nothing writes nothing. Raises
    MappingRefused for a wrong event name, a goal of another account or one that takes no conversions, a wrong value
    or condition.
    """
    _check_event_name(event_name)
    with transaction.atomic():
        # One writer per account: the history's `before` is what was in force.
        AdAccount.objects.select_for_update(no_key=True).get(pk=account.pk)
        current = account.mappings.select_related("goal").filter(event_name=event_name).first()
        wanted = None
        if rule is not None:
            wanted = proposed(account, event_name, rule, current, check_rule(account, event_name, rule, current))
        if rule_of(wanted) == rule_of(current):
            return current
        if wanted is None:
            account.mappings.filter(event_name=event_name).delete()
        else:
            wanted.save()
        MappingChange.objects.create(
            account=account,
            event_name=event_name,
            before=noted(current),
            after=noted(wanted),
            changed_by=actor,
            created_at=now,
        )
        _audit(account, event_name, actor, noted(current), noted(wanted), now)
        if wanted is not None:
            event_remapped.send(GoalMapping, account_id=account.pk, event_name=event_name, actor=actor, now=now)
    return wanted


def rule_of(mapping: GoalMapping | None) -> Rule | None:
    """Return a mapping as a rule; None where none is in force. A refund's has no value, whatever is stored."""
    if mapping is None or not mapping.is_active:
        return None
    if mapping.event_name == REFUND_EVENT:
        return Rule(mapping.goal.goal_id, "event", mapping.condition)
    fixed = mapping.fixed_value if mapping.value_rule == ValueRule.FIXED else None
    value: Value = "none" if mapping.value_rule == ValueRule.NONE else "event"
    return Rule(mapping.goal.goal_id, value if fixed is None else plain(fixed), mapping.condition)


def check_rule(account: AdAccount, event_name: str, rule: Rule, current: GoalMapping | None) -> ConversionGoal:
    """Return the goal that a rule names, or raise MappingRefused. Reads only.

    A goal that is paused or gone at Microsoft is refused for a new mapping and stays where it is mapped already.
    """
    goal = account.goals.filter(goal_id=rule.goal_id).first() if rule.goal_id.isalnum() else None
    return _checked(account, event_name, rule, current, goal)


def proposed(
    account: AdAccount, event_name: str, rule: Rule, current: GoalMapping | None, goal: ConversionGoal | None
) -> GoalMapping:
    """Return the mapping that a rule would be, not saved; `goal` is what the rule names among the account's goals.

    Raises MappingRefused as `check_rule` does. No queries, so that many rules can be tried.
    """
    goal = _checked(account, event_name, rule, current, goal)
    # A copy, because `current` still has to say what is in force.
    mapping = copy(current) if current is not None else GoalMapping(account=account, event_name=event_name)
    mapping.goal = goal
    mapping.fixed_value = rule.value if isinstance(rule.value, Decimal) else None
    mapping.value_rule = ValueRule.FIXED if isinstance(rule.value, Decimal) else ValueRule(rule.value)
    mapping.condition = rule.when.strip()
    mapping.is_active = True
    return mapping


def _checked(
    account: AdAccount, event_name: str, rule: Rule, current: GoalMapping | None, goal: ConversionGoal | None
) -> ConversionGoal:
    _check_event_name(event_name)
    if goal is None:
        raise MappingRefused("goal", f"This is not a goal of {account.name}. Sync the goals and choose again.")
    if not goal.is_available and (current is None or current.goal_id != goal.pk):
        state = "no longer exists" if goal.gone_at else f"is {goal.status.lower()}"
        raise MappingRefused("goal", f"{goal.name} {state} in Microsoft Advertising and takes no conversions.")
    if event_name == REFUND_EVENT and rule.value != "event":
        raise MappingRefused(
            "value", "A refund takes no value here: what was given back is taken off its order's value."
        )
    _check_value(rule.value)
    try:
        parse_condition(rule.when)
    except ConditionError as error:
        raise MappingRefused("when", str(error)) from error
    return goal


def plain(number: Decimal) -> Decimal:
    """Return a number without trailing zeros and without an exponent, the way a person writes it."""
    return Decimal(f"{number.normalize():f}")


def _check_event_name(event_name: str) -> None:
    if not EVENT_NAME.fullmatch(event_name):
        raise MappingRefused(
            "event_name",
            "An event name begins with a letter and has up to 64 letters, digits, dots, dashes or underscores.",
        )


def _check_value(value: Value) -> None:
    if not isinstance(value, Decimal):
        return
    if not value.is_finite() or value < 0:
        raise MappingRefused("value", "A fixed value is a number of zero or more, such as 25 or 49.90.")
    if value > MAX_FIXED_VALUE:
        raise MappingRefused("value", f"A fixed value is at most {MAX_FIXED_VALUE:,}.")
    if value != round(value, VALUE_DECIMALS):
        raise MappingRefused("value", f"A fixed value has at most {VALUE_DECIMALS} decimals.")


def noted(mapping: GoalMapping | None) -> dict[str, str]:
    """Return a mapping as its history notes it; empty where none is in force."""
    rule = rule_of(mapping)
    if mapping is None or rule is None:
        return {}
    return {"goal": mapping.goal.name, "goal_id": rule.goal_id, "value": str(rule.value), "when": rule.when}


def _audit(
    account: AdAccount,
    event_name: str,
    actor: User | None,
    before: Mapping[str, str],
    after: Mapping[str, str],
    now: datetime,
) -> None:
    changed = [name for name in ("goal", "value", "when") if before.get(name) != after.get(name)]
    fields = {name: [before.get(name, ""), after.get(name, "")] for name in changed}
    details = {"account": account.account_id, **fields}
    site, target = account.site, f"{event_name} in {account.name}"
    record(actor, "mapping.change", organisation=site.organisation, site=site, target=target, details=details, now=now)


# What people call the same thing, and what makes it another one: a qualified lead is no lead of a form.
_SAME_THING = (
    {"purchase", "order", "sale", "checkout"},
    {"lead", "enquiry", "inquiry", "quote", "contact", "form"},
    {"signup", "registration", "register", "account"},
    {"subscription", "subscribe"},
)
_SAME_QUALIFIER = (
    {"qualified", "mql", "sql"},
    {"phone", "call", "offline"},
    {"start", "started", "new", "trial"},
    {"closed", "won"},
)
# An event's nearest relative, for accounts that keep few goals.
_FALLS_BACK_TO = {"phone_sale": "purchase", "refund": "purchase", "subscription_start": "subscription"}
_LEAST_LIKENESS = 0.6


def suggest_goal(event_name: str, goals: Iterable[ConversionGoal]) -> ConversionGoal | None:
    """Return the goal whose name is most like the event's, to be chosen beforehand on a page; None if none is near.

    Goals that take no conversions are left out. The same goals give the same answer in any order.
    """
    available = sorted((goal for goal in goals if goal.is_available), key=lambda goal: (len(goal.name), goal.name))
    best = max(available, key=lambda goal: _likeness(event_name, goal.name), default=None)
    if best is not None and _likeness(event_name, best.name) >= _LEAST_LIKENESS:
        return best
    relative = _FALLS_BACK_TO.get(event_name)
    return suggest_goal(relative, available) if relative else None


def _likeness(event_name: str, goal_name: str) -> float:
    """Compare two names word by word: 1 for the same words, 0 for nothing in common."""
    wanted, offered = _words(event_name), _words(goal_name)
    if not wanted or not offered:
        return 0.0
    found = sum(max(_word_likeness(word, other) for other in offered) for word in wanted)
    return found / len(wanted) - sum(_distance_by(other, wanted) for other in offered)


def _word_likeness(word: str, other: str) -> float:
    if word == other:
        return 1.0
    if any(word in words and other in words for words in (*_SAME_THING, *_SAME_QUALIFIER)):
        return 0.8
    likeness = SequenceMatcher(None, word, other).ratio()
    return 0.9 * likeness if likeness >= 0.85 else 0.0


def _distance_by(other: str, wanted: list[str]) -> float:
    """Return how much less likely a goal is for a word that the event does not have."""
    if any(_word_likeness(word, other) for word in wanted):
        return 0.0
    return 0.4 if any(other in words for words in _SAME_QUALIFIER) else 0.05


def _words(name: str) -> list[str]:
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    joined = re.sub(r"\bsign[\s_-]?up\b", "signup", spaced.lower().replace("_", " "))
    return re.findall(r"[^\W_]+", joined)
