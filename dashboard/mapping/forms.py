"""The mapping page's one form: a row per event, each with the version of the rule that it was drawn with.

A row that says what it said when it was drawn is left alone, so two people who change different events never meet.
Whoever changes an event that somebody else changed meanwhile is shown both, and nothing is saved.
"""

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from django import forms
from django.conf import settings
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Q

from dashboard import wording
from dashboard.people.invitations import name_of
from forwarding.goal_names import nearest
from forwarding.stretches import Cursor
from ingest.audit import SERVER
from ingest.models import REFUND_EVENT
from integrations.mapping import (
    EVENT_NAME,
    OFFERED_EVENTS,
    MappingRefused,
    Rule,
    plain,
    proposed,
    rule_of,
    set_mapping,
    suggest_goal,
)
from integrations.models import (
    MAX_CONDITION_CHARS,
    MAX_EVENT_NAME_CHARS,
    AdAccount,
    ConversionGoal,
    GoalMapping,
    MappingChange,
    ValueRule,
)

MAX_ROWS = 120  # six fields each, and Django takes a thousand of a form
NEW_ROW = "new"
HISTORY_ROWS = 20
_AMOUNT = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,6})?", re.ASCII)
_FIELDS = {"event_name": "event", "goal": "goal", "value": "amount", "when": "when"}


class RowForm(forms.Form):
    """One event's line. An empty goal means that the event is not forwarded."""

    event = forms.CharField(max_length=MAX_EVENT_NAME_CHARS, required=False)
    goal = forms.RegexField(r"^[0-9]{1,18}\Z", required=False, error_messages={"invalid": "Choose a goal of the list."})
    value = forms.ChoiceField(choices=ValueRule.choices, error_messages={"invalid_choice": "Choose a value rule."})
    amount = forms.CharField(max_length=24, required=False)
    when = forms.CharField(max_length=MAX_CONDITION_CHARS, required=False)
    version = forms.CharField(max_length=64, required=False)


@dataclass(frozen=True)
class State:
    """How a mapping does: a status's look, its word, and what to know about it."""

    look: str
    icon: str
    word: str
    note: str = ""
    ready_at: datetime | None = None


@dataclass(frozen=True)
class Saved:
    """What is in force for an event, as its fields would show it: the page counts what differs as unsaved."""

    goal: str = ""
    value: str = ValueRule.EVENT
    amount: str = ""
    when: str = ""


@dataclass
class Row:
    """A line of the page: what is drawn in its fields, and what is to be said about it."""

    key: str
    event: str
    goal: str = ""
    value: str = ValueRule.EVENT
    amount: str = ""
    when: str = ""
    version: str = ""
    saved: Saved = Saved()
    mapping: GoalMapping | None = None
    state: State | None = None
    broken: str = ""
    suggestion: ConversionGoal | None = None
    difference: str = ""
    is_replaced: bool = False  # the suggestion is chosen, and not saved
    note: str = ""
    seen: str = ""
    missed: int = 0
    options: list[tuple[str, str]] = field(default_factory=list)
    errors: dict[str, list[str]] = field(default_factory=dict)
    conflict: str = ""

    @property
    def is_mapped(self) -> bool:
        """Say whether the event is forwarded now."""
        return self.mapping is not None

    @property
    def is_refund(self) -> bool:
        """Say whether its mapping only tells Microsoft of refunds: it has no value, and its goal decides nothing."""
        return self.event == REFUND_EVENT

    @property
    def stands_above(self) -> bool:
        """Say whether it belongs to the first table: offered events, and what is mapped."""
        return self.is_mapped or self.event in OFFERED_EVENTS

    @property
    def field_in_error(self) -> str:
        """Return the first field to mend, "" when none is; what is not of one field is shown under the goal."""
        wrong = {"goal"} if self.conflict else set(self.errors)
        drawn = (*(["event"] if self.key == NEW_ROW else []), "goal", "value", "amount", "when")
        return next((name for name in drawn if name in wrong), "goal" if wrong else "")

    def complain(self, name: str, message: str) -> None:
        """Put an error under a field."""
        self.errors.setdefault(name, []).append(message)


@dataclass(frozen=True)
class Outcome:
    """What became of a save: sentences about what changed, and the HTTP status that tells how it went."""

    status: int
    said: list[str] = field(default_factory=list)


def version_of(rule: Rule | None) -> str:
    """Return a short text that is the same for the same rule, and only for it."""
    if rule is None:
        return "none"
    value = str(plain(rule.value)) if isinstance(rule.value, Decimal) else rule.value
    return hashlib.sha256("\n".join((rule.goal_id, value, rule.when.strip())).encode()).hexdigest()[:20]


def drawn_rows(
    account: AdAccount,
    seen: Mapping[str, str],
    goals: Sequence[ConversionGoal],
    history: Sequence[MappingChange],
    now: datetime,
    stop: str,
) -> list[Row]:
    """Return a row per event name and one for a name not seen yet.

    `seen` says of the names that came lately how often; `stop` is why the whole account waits, or "".
    """
    mapped = {mapping.event_name: mapping for mapping in account.mappings.all() if mapping.is_active}
    by_pk = {goal.pk: goal for goal in goals}
    for mapping in mapped.values():
        mapping.goal = by_pk[mapping.goal_id]
    newest_change = {change.event_name: change for change in reversed(history)}
    rows = []
    for number, name in enumerate([*dict.fromkeys([*OFFERED_EVENTS, *sorted(mapped), *sorted(seen)])][:MAX_ROWS]):
        row = _row(f"r{number}", name, mapped.get(name), goals, now, stop)
        row.seen = seen.get(name, "")
        row.note = _note(row, newest_change.get(name))
        rows.append(row)
    rows.append(_row(NEW_ROW, "", None, goals, now, ""))
    return rows


def posted_rows(data: Mapping[str, str], rows: list[Row], goals: Sequence[ConversionGoal]) -> list[Row]:
    """Put what was posted into the rows that a page would draw now; return those that the person changed.

    Rows are matched by their event, not by their place, because events may have come in between. A change of an
    event that is not drawn any more joins `rows`, so that it is answered and not dropped.
    """
    by_event = {row.event: row for row in rows if row.key != NEW_ROW}
    by_pk = {str(goal.pk): goal for goal in goals}
    changed = []
    for key in (*(f"r{number}" for number in range(MAX_ROWS)), NEW_ROW):
        if f"{key}-event" not in data and f"{key}-goal" not in data:
            continue
        form = RowForm(data, prefix=key)
        is_sound = form.is_valid()
        name = str(form.cleaned_data.get("event", ""))
        if key == NEW_ROW and is_sound and not name and not form.cleaned_data["goal"]:
            continue
        row = rows[-1] if key == NEW_ROW else by_event.get(name) or Row(key, name, options=rows[-1].options)
        if _fill(row, form, by_pk, is_new=key == NEW_ROW, taken=by_event):
            changed.append(row)
            if row not in rows:
                rows.insert(-1, row)
    return changed


def save(
    account: AdAccount, changed: Iterable[Row], goals: Sequence[ConversionGoal], actor: User, now: datetime
) -> Outcome:
    """Save the changed rows, all or none. 200; 422 with errors on the rows; 409 where somebody else came first."""
    said = []
    by_pk = {str(goal.pk): goal for goal in goals}
    rows = list(changed)
    with transaction.atomic():
        # Held until the end, so that what is compared here is what is written over.
        AdAccount.objects.select_for_update(no_key=True).get(pk=account.pk)
        current = {one.event_name: one for one in account.mappings.select_related("goal")}
        for row in rows:
            if row.errors:
                continue
            wanted, in_force = _rule(row, by_pk), rule_of(current.get(row.event))
            if version_of(wanted) in (row.version, version_of(in_force)):
                continue
            if version_of(in_force) != row.version:
                row.conflict = _in_words(in_force, by_pk)
                row.version = version_of(in_force)
                continue
            try:
                set_mapping(account, row.event, wanted, actor, now)
            except MappingRefused as refusal:
                row.complain(_FIELDS[refusal.field], refusal.message)
            else:
                said.append(_said(row.event, wanted, by_pk))
        is_refused, is_late = any(row.errors for row in rows), any(row.conflict for row in rows)
        if is_refused or is_late:
            transaction.set_rollback(True)
    if is_late:
        _name_who(account, [row for row in rows if row.conflict], now)
    return Outcome(409 if is_late else 422 if is_refused else 200, said)


def try_out(
    account: AdAccount, changed: Iterable[Row], goals: Sequence[ConversionGoal]
) -> dict[str, GoalMapping | None]:
    """Return what the changed rows without errors would put in force, by event; nothing is saved.

    What cannot be kept is put as an error on its row.
    """
    by_pk = {str(goal.pk): goal for goal in goals}
    tried: dict[str, GoalMapping | None] = {}
    for row in changed:
        if row.errors:
            continue
        rule = _rule(row, by_pk)
        try:
            tried[row.event] = (
                None if rule is None else proposed(account, row.event, rule, row.mapping, by_pk[row.goal])
            )
        except MappingRefused as refusal:
            row.complain(_FIELDS[refusal.field], refusal.message)
    return tried


@dataclass(frozen=True)
class History:
    """A page of the mapping's changes, the newest first; `older` is the cursor of the next page, "" on the last."""

    changes: list[MappingChange]
    older: str = ""

    @classmethod
    def read(cls, account: AdAccount, before: Cursor | None = None) -> "History":
        """Return the newest changes, or those before a cursor."""
        rows = account.mapping_changes.select_related("changed_by").order_by("-created_at", "-pk")
        if before is not None:
            at, pk = before.created_at, before.pk
            rows = rows.filter(created_at__lte=at).exclude(Q(created_at=at, pk__gte=pk))
        changes = list(rows[: HISTORY_ROWS + 1])
        last = changes[HISTORY_ROWS - 1] if len(changes) > HISTORY_ROWS else None
        return cls(changes[:HISTORY_ROWS], "" if last is None else str(Cursor(last.created_at, last.pk)))


def rule_in_words(noted: Mapping[str, str]) -> str:
    """Write a rule as the history keeps it; an empty one is "Not forwarded"."""
    if not noted:
        return "Not forwarded"
    value = {"event": "value from event", "none": "no value"}.get(noted["value"], f"fixed value {noted['value']}")
    when = f", when {noted['when']}" if noted.get("when") else ""
    return f"“{noted['goal']}”, {value}{when}"


def _row(
    key: str, name: str, mapping: GoalMapping | None, goals: Sequence[ConversionGoal], now: datetime, stop: str
) -> Row:
    row = Row(key, name, version=version_of(rule_of(mapping)), mapping=mapping)
    available = [goal for goal in goals if goal.is_available]
    row.options = [(str(goal.pk), goal.name) for goal in available]
    if mapping is None:
        return row
    row.goal, row.when = str(mapping.goal_id), mapping.condition
    if not row.is_refund:
        row.value = mapping.value_rule
        row.amount = "" if mapping.fixed_value is None else str(plain(mapping.fixed_value))
    row.saved = Saved(row.goal, row.value, row.amount, row.when)
    row.state, row.broken = _state(mapping.goal, now, stop)
    if not mapping.goal.is_available:
        state = "not found" if mapping.goal.gone_at else mapping.goal.status.lower()
        row.options.insert(0, (row.goal, f"{mapping.goal.name} ({state})"))
        row.suggestion, row.difference = _nearest_goal(mapping.goal.name, available)
    return row


def _nearest_goal(name: str, available: Sequence[ConversionGoal]) -> tuple[ConversionGoal | None, str]:
    """Return the goal that a missing one's name is most like, and in what the names differ where it is spelling."""
    near = nearest(name, (goal.name for goal in available))
    if near is None:
        return suggest_goal(name, available), ""
    return next(goal for goal in available if goal.name == near.name), near.words


def _state(goal: ConversionGoal, now: datetime, stop: str) -> tuple[State, str]:
    """Return how a mapping to a goal does, and what is wrong with the goal in words ("" when nothing is)."""
    if goal.gone_at is not None:
        return State("failed", "x", "Goal not found"), "This goal no longer exists in Microsoft Advertising."
    if not goal.is_available:
        words = f"This goal is {goal.status.lower()} in Microsoft Advertising and takes no conversions."
        return State("failed", "x", f"Goal {goal.status.lower()}"), words
    settle = timedelta(seconds=settings.GOAL_SETTLE_SECONDS)
    ready_at = goal.settles_at(settle)
    if ready_at is not None and ready_at > now:
        note = f"New goals need {wording.duration(settle.total_seconds())}"
        return State("pending", "hourglass", "Too new", note, ready_at), ""
    if stop:
        return State("pending", "clock", "Held", stop), ""
    return State("delivered", "check", "Delivering"), ""


def _note(row: Row, change: MappingChange | None) -> str:
    if row.is_refund:
        return "Any goal tells Microsoft of refunds. Each corrects its order’s conversion, in whatever goal that is."
    if row.event and not EVENT_NAME.fullmatch(row.event):
        return "This name cannot be mapped: it has characters that no mapping takes."
    then = change.after if change is not None else {}
    if row.mapping and then.get("goal_id") == row.mapping.goal.goal_id and then["goal"] != row.mapping.goal.name:
        return f"Was called “{then['goal']}” when it was mapped. Conversions go out under the new name."
    return ""


def _fill(
    row: Row, form: RowForm, by_pk: Mapping[str, ConversionGoal], *, is_new: bool, taken: Mapping[str, Row]
) -> bool:
    """Put a posted line on its row; return whether it is not what was drawn."""
    given = form.cleaned_data
    drawn_with = str(given.get("version", ""))
    for name, messages in form.errors.items():
        row.errors[name] = [str(message) for message in messages]
    row.goal = str(given.get("goal", form["goal"].value() or ""))
    row.value = str(given.get("value", row.value))
    row.amount = str(given.get("amount", form["amount"].value() or ""))
    row.when = str(given.get("when", form["when"].value() or ""))
    if is_new:
        row.event, drawn_with = str(given.get("event", form["event"].value() or "")), version_of(None)
        _check_new(row, taken)
    if row.goal and "goal" not in row.errors and row.goal not in by_pk:
        row.complain("goal", "Choose a goal of the list. It may have changed since this page was opened.")
    if row.goal and row.value == ValueRule.FIXED and not _AMOUNT.fullmatch(row.amount):
        row.complain("amount", "Enter the fixed value as a number, such as 25 or 49.90.")
    row.version = drawn_with
    return bool(row.errors) or version_of(_rule(row, by_pk)) != drawn_with


def _check_new(row: Row, taken: Mapping[str, Row]) -> None:
    if not row.event:
        row.complain("event", "Enter the event’s name.")
    elif row.event in taken:
        row.complain("event", f"{row.event} is in the list above. Choose its goal there.")
    elif not row.goal:
        row.complain("goal", "Choose the goal that it goes to.")


def _rule(row: Row, by_pk: Mapping[str, ConversionGoal]) -> Rule | None:
    """Return what the fields of a row without errors say."""
    if not row.goal:
        return None
    if row.value == ValueRule.FIXED:
        return Rule(by_pk[row.goal].goal_id, Decimal(row.amount), row.when)
    return Rule(by_pk[row.goal].goal_id, "none" if row.value == ValueRule.NONE else "event", row.when)


def _in_words(rule: Rule | None, by_pk: Mapping[str, ConversionGoal]) -> str:
    if rule is None:
        return rule_in_words({})
    names = {goal.goal_id: goal.name for goal in by_pk.values()}
    return rule_in_words({"goal": names.get(rule.goal_id, ""), "value": str(rule.value), "when": rule.when})


def _said(event: str, rule: Rule | None, by_pk: Mapping[str, ConversionGoal]) -> str:
    if event == REFUND_EVENT:
        return "Microsoft is no longer told of refunds." if rule is None else "Microsoft is told of refunds."
    if rule is None:
        return f"{event} is no longer forwarded."
    return f"{event} goes to {_in_words(rule, by_pk)}."


def _name_who(account: AdAccount, late: Sequence[Row], now: datetime) -> None:
    changes = account.mapping_changes.select_related("changed_by").filter(event_name__in=[row.event for row in late])
    newest = {change.event_name: change for change in changes.order_by("created_at", "pk")}
    for row in late:
        change = newest.get(row.event)
        who = "Somebody"
        when = ""
        if change is not None:
            who = who_changed(change)
            when = f" {wording.duration(max((now - change.created_at).total_seconds(), 1))} ago"
        row.conflict = f"{who} changed this{when}. It is now: {row.conflict}. Save again to put yours in its place."


def who_changed(change: MappingChange) -> str:
    """Name who made a change; a command on the server, or a person who is gone, is Convultra."""
    return name_of(change.changed_by) if change.changed_by is not None else SERVER
