"""A site's whole mapping as one YAML file, so that it can be kept in Git, reviewed, and carried to another site.

    accounts:
      "180000001":  # the account's name, for people
        purchase: {goal: Purchase}
        qualified_lead: {goal: Qualified Lead, value: none}
        phone_sale: {goal: Purchase, when: "value >= 50"}

The file is the whole mapping of every account it names: an event that it leaves out is unmapped. Accounts that it does
not name stay as they are. A goal is named exactly, with case and spaces.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from difflib import get_close_matches

import yaml
from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import QuerySet

from ingest.models import Site
from integrations.mapping import OFFERED_EVENTS, MappingRefused, Rule, Value, noted, proposed, rule_of, set_mapping
from integrations.models import AdAccount, ConversionGoal, GoalMapping

MAX_FILE_CHARS = 1_000_000
_NUMBER = re.compile(r"[0-9]{1,15}(\.[0-9]{1,15})?", re.ASCII)
_RULE_FIELDS = ("goal", "value", "when")


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did. `changed` and `removed` name `account event`; `unchanged` counts rules that stood already."""

    changed: tuple[str, ...]
    removed: tuple[str, ...]
    unchanged: int


@dataclass(frozen=True, slots=True)
class Difference:
    """An event that a file would map otherwise: `before` is in force, `after` is not saved, None is unmapped."""

    account: AdAccount
    event_name: str
    before: GoalMapping | None
    after: GoalMapping | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a file would change, account by account, and how many rules it has that stand already."""

    differences: tuple[Difference, ...]
    unchanged: int

    @property
    def fingerprint(self) -> str:
        """Return a text that is the same as long as the same would be changed, from the same to the same."""
        said = [
            (one.account.account_id, one.event_name, noted(one.before), noted(one.after)) for one in self.differences
        ]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()


class MappingMoved(Exception):  # noqa: N818 - a fact, told to the person who confirms
    """The mapping is not what it was when the file was compared with it, so something else would be changed."""


class ImportRefused(ValueError):  # noqa: N818 - a refusal, told to the person who wrote the file
    """A file that was not taken, not even in part. `errors` holds one line per mistake, each naming where it is."""

    def __init__(self, errors: list[str]) -> None:
        super().__init__("\n".join(errors))
        self.errors = tuple(errors)


def export_mapping(site: Site) -> str:
    """Return the mapping of every active account of a site as YAML, offered events first."""
    accounts = site.ad_accounts.active().order_by("account_id").prefetch_related("mappings__goal")
    parts = [_export_account(account) for account in accounts]
    return "accounts:\n" + "".join(parts) if parts else "accounts: {}\n"


def compare_mapping(site: Site, text: str) -> Comparison:
    """Return what a file would change. Reads only; four queries, whatever the file. Raises ImportRefused."""
    return _compared(site.ad_accounts.active(), text)


def import_mapping(
    site: Site, text: str, actor: User | None, now: datetime, expected: str | None = None
) -> ImportReport:
    """Make a file the mapping of the accounts it names, all of it or nothing; a second time it changes nothing.

    Raises ImportRefused with every mistake found: YAML that cannot be read, an account or goal that the site does not
    have, a goal's name that two goals share, a value or condition that cannot be kept; and MappingMoved where
    `expected`, the fingerprint of a comparison, is not that of what would be changed now.
    """
    # One transaction from reading to writing, so that what was checked is what is changed.
    with transaction.atomic():
        comparison = _compared(site.ad_accounts.active().select_for_update(no_key=True), text)
        if expected is not None and comparison.fingerprint != expected:
            raise MappingMoved
        for one in comparison.differences:
            set_mapping(one.account, one.event_name, rule_of(one.after), actor, now)
    named = [(one, f"{one.account.account_id} {one.event_name}") for one in comparison.differences]
    changed = tuple(name for one, name in named if one.after is not None)
    removed = tuple(sorted(name for one, name in named if one.after is None))
    return ImportReport(changed, removed, comparison.unchanged)


def _compared(accounts: QuerySet[AdAccount], text: str) -> Comparison:
    errors: list[str] = []
    its = accounts.order_by("pk").prefetch_related("mappings__goal", "goals")
    entries = _read(text, {account.account_id: account for account in its}, errors)
    if errors:
        raise ImportRefused(errors)
    differences, unchanged = [], 0
    for entry in entries:
        for event_name in [*entry.wanted, *sorted(entry.current.keys() - entry.wanted.keys())]:
            before, after = entry.current.get(event_name), entry.wanted.get(event_name)
            if rule_of(before) == rule_of(after):
                unchanged += after is not None
            else:
                differences.append(Difference(entry.account, event_name, before, after))
    return Comparison(tuple(differences), unchanged)


@dataclass(frozen=True, slots=True)
class _Entries:
    """An account's mapping before and as the file wants it."""

    account: AdAccount
    current: dict[str, GoalMapping]
    wanted: dict[str, GoalMapping]


# Reading


class _Mistake(Exception):  # noqa: N818 - goes no further than this module
    """One mistake in the file."""


def _read(text: str, accounts: dict[str, AdAccount], errors: list[str]) -> list[_Entries]:
    """Return what the file wants per account; put every mistake into `errors`."""
    entries: dict[str, _Entries] = {}
    try:
        for key, node in _accounts_of(text):
            account = accounts.get(key.value)
            if account is None:
                errors.append(f"{_line(key)}, account {key.value}: this site has no such account.")
            elif account.account_id in entries:
                errors.append(f"{_line(key)}, account {key.value}: it is in the file twice.")
            else:
                entries[account.account_id] = _read_account(account, node, errors)
    except _Mistake as mistake:
        errors.append(str(mistake))
    return list(entries.values())


def _accounts_of(text: str) -> Iterator[tuple[yaml.ScalarNode, yaml.Node]]:
    if len(text) > MAX_FILE_CHARS:
        raise _Mistake(f"A mapping file has at most {MAX_FILE_CHARS:,} characters.")
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        where = f"Line {error.problem_mark.line + 1}" if error.problem_mark else "The file"
        raise _Mistake(f"{where}: this is not YAML, {error.problem}.") from None
    except (yaml.YAMLError, RecursionError):
        raise _Mistake("The file is not YAML: it has characters or a nesting that no mapping file has.") from None
    top = list(_members(root, "The file")) if root is not None else []
    if [key.value for key, _ in top] != ["accounts"]:
        raise _Mistake("The file must have `accounts:` at its top, and nothing beside it.")
    node = top[0][1]
    yield from () if _is_null(node) else _members(node, f"{_line(node)}, accounts")


def _read_account(account: AdAccount, node: yaml.Node, errors: list[str]) -> _Entries:
    current = {mapping.event_name: mapping for mapping in account.mappings.all()}
    goals = list(account.goals.all())
    by_id = {goal.goal_id: goal for goal in goals}
    wanted: dict[str, GoalMapping] = {}
    try:
        members = [] if _is_null(node) else list(_members(node, f"{_line(node)}, account {account.account_id}"))
    except _Mistake as mistake:
        errors.append(str(mistake))
        members = []
    for key, rule_node in members:
        event_name = str(key.value)
        where = f"{_line(key)}, account {account.account_id}, event {event_name}"
        try:
            if event_name in wanted:
                raise _Mistake(f"{where}: it is in the account twice.")
            rule = _read_rule(rule_node, where, goals, current.get(event_name))
            wanted[event_name] = proposed(account, event_name, rule, current.get(event_name), by_id.get(rule.goal_id))
        except _Mistake as mistake:
            errors.append(str(mistake))
        except MappingRefused as refused:
            errors.append(f"{where}: {refused}")
    return _Entries(account, current, wanted)


def _read_rule(node: yaml.Node, where: str, goals: list[ConversionGoal], current: GoalMapping | None) -> Rule:
    fields: dict[str, yaml.Node] = {}
    for key, value in _members(node, where):
        if key.value not in _RULE_FIELDS or key.value in fields:
            raise _Mistake(f"{where}: a rule has goal, value and when, each once, but here stands `{key.value}`.")
        fields[key.value] = value
    if "goal" not in fields:
        raise _Mistake(f"{where}: `goal` is missing.")
    return Rule(
        goal_id=_goal_id(_text(fields["goal"], f"{where}, goal"), goals, current, where),
        value=_value(fields["value"], f"{where}, value") if "value" in fields else "event",
        when=_text(fields["when"], f"{where}, when") if "when" in fields else "",
    )


def _goal_id(name: str, goals: list[ConversionGoal], current: GoalMapping | None, where: str) -> str:
    # What is mapped stays mapped, also when the goal is paused by now or another one has taken the same name.
    if current is not None and current.goal.name == name:
        return current.goal.goal_id
    named = [goal for goal in goals if goal.name == name and goal.gone_at is None]
    if len(named) == 1:
        return named[0].goal_id
    if named:
        ids = ", ".join(sorted(goal.goal_id for goal in named))
        raise _Mistake(
            f"{where}: {len(named)} goals have the name `{name}` ({ids}). Rename one in Microsoft Advertising."
        )
    near = get_close_matches(name, [goal.name for goal in goals if goal.is_available], n=1)
    hint = f" Did you mean `{near[0]}`?" if near else ""
    raise _Mistake(f"{where}: the account has no goal with exactly the name `{name}`.{hint}")


def _value(node: yaml.Node, where: str) -> Value:
    text = _text(node, where)
    if text == "event":
        return "event"
    if text == "none":
        return "none"
    if not _NUMBER.fullmatch(text):
        raise _Mistake(f"{where}: it is event, none or a number such as 25 or 49.90, not `{text}`.")
    return Decimal(text)


def _members(node: yaml.Node | None, where: str) -> Iterator[tuple[yaml.ScalarNode, yaml.Node]]:
    if not isinstance(node, yaml.MappingNode):
        raise _Mistake(f"{where}: names and values are due here, such as `name: value`.")
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise _Mistake(f"{_line(key)}: a name is due here.")
        yield key, value


def _text(node: yaml.Node, where: str) -> str:
    if not isinstance(node, yaml.ScalarNode) or _is_null(node):
        raise _Mistake(f"{where}: a text is due here.")
    return str(node.value)


def _is_null(node: yaml.Node) -> bool:
    return node.tag == "tag:yaml.org,2002:null"


def _line(node: yaml.Node) -> str:
    return f"Line {node.start_mark.line + 1}"


# Writing


def _export_account(account: AdAccount) -> str:
    rules = {mapping.event_name: mapping for mapping in account.mappings.all() if mapping.is_active}
    order = [name for name in OFFERED_EVENTS if name in rules]
    order += sorted(rules.keys() - set(order))
    name = "".join(character for character in account.name if character.isprintable())
    lines = [_export_rule(event_name, rules[event_name]) for event_name in order]
    return f'  "{account.account_id}":  # {name}\n' + "".join(lines)


def _export_rule(event_name: str, mapping: GoalMapping) -> str:
    rule = rule_of(mapping)
    assert rule is not None  # only mappings in force are exported
    fields: dict[str, str | float] = {"goal": mapping.goal.name}
    if rule.value != "event":
        # At most 15 digits, which a float keeps exactly.
        fields["value"] = _number(rule.value) if isinstance(rule.value, Decimal) else rule.value
    if rule.when:
        fields["when"] = rule.when
    line = yaml.safe_dump(
        {event_name: fields},
        default_flow_style=None,
        sort_keys=False,
        # PyYAML writes U+0085 as it is, and reads it as a line's end.
        allow_unicode=mapping.goal.name.isprintable(),
        width=10_000,
    )
    return f"    {line}"


def _number(value: Decimal) -> float:
    return int(value) if value == value.to_integral_value() else float(value)
