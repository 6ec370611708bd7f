"""What stands between an account and its conversions: checks in an order, each with what to do. Pure.

`forwarding/test_center/facts.py` asks Microsoft; here is only what its answers mean. A check that is `BAD` is the last
one: what comes after it was not reached. `is_sent` says whether the conversion goes out nevertheless: a goal's name
that is wrong is best proved by Microsoft's own answer, while what it would lose without a word is not sent.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from forwarding.goal_names import nearest
from forwarding.times import CONVERSION_LIFE
from integrations.microsoft_ads.shapes import UetTag

LONGEST_WINDOW = timedelta(days=90)
# cust/customerrole, guides/account-hierarchy-permissions
ROLES = {16: "Advertiser campaign manager", 33: "Aggregator", 41: "Super admin", 100: "Viewer", 203: "Standard user"}
VIEWER = 100
# cm/conversiongoalrevenuetype
REVENUES = {"VariableValue": "variable value", "FixedValue": "fixed value", "NoValue": "no revenue"}


class State(StrEnum):
    """What came of a check."""

    OK = "ok"
    WARN = "warn"
    BAD = "bad"
    WAIT = "wait"


class Help(StrEnum):
    """Where the fix of a check is made, or what Convultra can do about it."""

    NONE = ""
    RECONNECT = "reconnect"
    OTHER_USER = "other_user"
    MICROSOFT = "microsoft"
    RESUME = "resume"
    MAPPING = "mapping"
    CREATE_GOAL = "create_goal"
    AUTO_TAGGING = "auto_tagging"
    SETTINGS = "settings"


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the list: `note` is the fact, `fix` what to do. `until` is when it is over by itself."""

    title: str
    state: State = State.OK
    note: str = ""
    fix: str = ""
    help: Help = Help.NONE
    until: datetime | None = None
    is_sent: bool = True

    def stored(self) -> dict[str, object]:
        """Return it as JSON."""
        return {**asdict(self), "until": None if self.until is None else self.until.isoformat()}


@dataclass(frozen=True, slots=True)
class Goal:
    """A goal that a conversion is for, as Microsoft described it last; `is_listed` is false once it did not."""

    name: str
    status: str
    is_listed: bool
    goal_type: str = "OfflineConversion"
    count_type: str = ""
    window_minutes: int | None = None
    revenue_type: str = ""
    is_enhanced: bool | None = None
    takes_from: datetime | None = None


SIGNED_IN, ACCOUNT, ROLE = "Signed in to Microsoft", "Account takes conversions", "This user may upload"
GOAL, GOAL_AGE, GOAL_SETTINGS = "Goal exists", "Goal is old enough", "Goal counts what we send"
ENHANCED, TAGGING, TAG = "Hashed customer data", "Auto-tagging is on", "UET tag"
CLICK, ACCEPTED = "Click ID is valid", "Accepted by Microsoft"
# What a person sees before anything is known.
ORDER = (SIGNED_IN, ACCOUNT, ROLE, GOAL, GOAL_AGE, GOAL_SETTINGS, ENHANCED, TAGGING, TAG, CLICK)


def unreached(reached: Sequence[Check]) -> list[Check]:
    """Return the checks that were not made, in their order; none where all were that apply."""
    titles = [check.title for check in reached]
    rest = ORDER[ORDER.index(titles[-1]) + 1 :] if titles else ORDER
    return [Check(title, State.WAIT) for title in rest]


def signed_in(user_name: str, refusal: str = "", fix: str = "", *, can_reconnect: bool = True) -> Check:
    """Judge the sign-in; `refusal` is why Microsoft does not know us, in words."""
    if not refusal:
        return Check(SIGNED_IN, note=user_name)
    return _stop(SIGNED_IN, refusal, fix, Help.RECONNECT if can_reconnect else Help.NONE)


def takes_conversions(status: str | None, *, is_paused_here: bool, left_alone_until: datetime | None) -> Check:
    """Judge the account; `status` is Microsoft's AccountLifeCycleStatus, None where this user does not reach it."""
    if is_paused_here:
        return _stop(ACCOUNT, "Forwarding is paused", "Resume forwarding to send.", Help.RESUME)
    if left_alone_until is not None:
        fix = "Microsoft asked us to wait, or does not answer. Send the test again after that."
        return _stop(ACCOUNT, "Microsoft wants a pause", fix, until=left_alone_until)
    if status is None:
        fix = "Ask the account's owner for the Standard user role, under Settings → Users in Microsoft Advertising."
        return _stop(ACCOUNT, "Account is out of this user's reach", fix, Help.OTHER_USER)
    if status != "Active":
        fix = "Check the account's status and its billing in Microsoft Advertising."
        state = "paused" if status == "Pause" else status.lower()
        return _stop(ACCOUNT, f"Account is {state} at Microsoft", fix, Help.MICROSOFT)
    return Check(ACCOUNT, note="Active")


def may_upload(role_ids: Iterable[int]) -> Check:
    """Judge the roles that the Microsoft user has for the account; where Microsoft names none, it is left to judge."""
    roles = sorted(set(role_ids) - {VIEWER}) or sorted(set(role_ids))
    if roles == [VIEWER]:
        fix = "A viewer cannot upload. Ask the account's owner for the Standard user role."
        return _stop(ROLE, "This user is only a viewer", fix, Help.OTHER_USER)
    return Check(ROLE, note=", ".join(ROLES.get(role, f"Role {role}") for role in roles) or "Role not named")


def goal_exists(goal: Goal, listed: Iterable[str]) -> Check:
    """Judge whether Microsoft finds the goal by its exact name; `listed` are the names of its offline goals."""
    names = list(listed)
    if goal.is_listed and goal.goal_type not in ("OfflineConversion", "OfflineConversionGoal"):
        fix = "Only goals of the type Offline conversion take uploads. Map the event to one."
        return Check(GOAL, State.BAD, f"“{goal.name}” is of type {goal.goal_type}", fix, Help.MAPPING)
    if not goal.is_listed and goal.name not in names:
        meant = nearest(goal.name, names)
        if meant is not None:
            fix = f"Microsoft has “{meant.name}”. {meant.words} Map the event to it."
            return Check(GOAL, State.BAD, f"“{goal.name}” not found", fix, Help.MAPPING)
        fix = "It was deleted, or is of another type. Map the event to another goal, or create this one."
        return Check(GOAL, State.BAD, f"“{goal.name}” not found", fix, Help.CREATE_GOAL)
    if goal.status != "Active":
        fix = "Microsoft takes conversions for it and counts none, without an error. Set it to active there."
        return _stop(GOAL, f"“{goal.name}” is {goal.status.lower()}", fix, Help.MICROSOFT)
    return Check(GOAL, note=f"“{goal.name}”, offline, active")


def goal_is_old_enough(goal: Goal, now: datetime) -> Check:
    """Judge the goal's age; Microsoft refuses what comes in its first two hours (5615)."""
    if goal.takes_from is None or goal.takes_from <= now:
        return Check(GOAL_AGE, note="Known from the start" if goal.takes_from is None else "Older than two hours")
    fix = "Microsoft refuses conversions for a goal in its first two hours. Send the test again after that."
    return _stop(GOAL_AGE, "Goal is too new", fix, until=goal.takes_from)


def goal_counts(goal: Goal, *, has_value: bool) -> Check:
    """Judge how the goal counts: its window, its revenue, and whether each conversion of a click counts."""
    facts = [{"All": "counts all", "Unique": "counts one per click"}.get(goal.count_type, "")]
    if goal.window_minutes is not None:
        facts.append(f"{goal.window_minutes // 1440} days")
    facts.append(REVENUES.get(goal.revenue_type, ""))
    note = ", ".join(fact for fact in facts if fact)
    if has_value and goal.revenue_type == "NoValue":
        fix = "The goal has no revenue, so values that we send may not be counted. Choose a variable value there."
        return Check(GOAL_SETTINGS, State.WARN, note, fix, Help.MICROSOFT)
    if goal.window_minutes is not None and goal.window_minutes < LONGEST_WINDOW.total_seconds() / 60:
        fix = "Sales that come later after their click are refused. Widen the goal's window there, up to 90 days."
        return Check(GOAL_SETTINGS, State.WARN, note, fix, Help.MICROSOFT)
    if has_value and goal.revenue_type == "FixedValue":
        note += ", which ours replaces"
    return Check(GOAL_SETTINGS, note=note)


def takes_hashes(goal: Goal, *, sends_hashes: bool) -> Check:
    """Judge hashed customer data. That a goal takes any says that Microsoft's terms for it were accepted."""
    if goal.is_enhanced and sends_hashes:
        return Check(ENHANCED, note="Enhanced conversions on, terms accepted")
    if goal.is_enhanced:
        fix = "Optional: let this account send hashed emails and phones too, for sales without a click ID."
        return Check(ENHANCED, State.WAIT, "Goal takes it, this account sends none", fix, Help.SETTINGS)
    if not sends_hashes:
        return Check(ENHANCED, State.WAIT, "Not used: enhanced conversions are off", "Optional.")
    fix = (
        "No hashed email or phone is sent to this goal. Turn enhanced conversions on for it in Microsoft Advertising, "
        "where Microsoft asks for its customer-data terms once per account."
    )
    return Check(ENHANCED, State.WARN, "The goal takes none", fix, Help.MICROSOFT)


def auto_tagging(is_on: bool | None) -> Check:
    """Judge whether ads bring click ids to the site; None where Microsoft did not say."""
    if is_on is None:
        return Check(TAGGING, State.WARN, "Could not be read", "Microsoft did not say. The next test asks again.")
    if is_on:
        return Check(TAGGING, note="On")
    fix = "Ads of this account bring no click ID to your site, so its sales cannot be forwarded."
    return Check(TAGGING, State.WARN, "Off", fix, Help.AUTO_TAGGING)


def uet_tag(tag_id: str, tags: Sequence[UetTag] | None) -> Check:
    """Judge the linked tag against Microsoft's list; None where that could not be read. No tag at all is fine."""
    if not tag_id:
        fix = "Optional: link one for audiences and Microsoft's own check."
        return Check(TAG, State.WAIT, "None linked", fix, Help.SETTINGS)
    if tags is None:
        return Check(TAG, State.WARN, "Could not be read", "Microsoft did not say. The next test asks again.")
    tag = next((one for one in tags if one.tag_id == tag_id), None)
    if tag is None:
        fix = "Invalid UET tag: check it under Tools → UET tag."
        return Check(TAG, State.WARN, f"{tag_id} is not on Microsoft's list", fix, Help.SETTINGS)
    if tag.tracking_status == "Unverified":
        fix = "Microsoft has not seen it on any page yet. It can take a day after it was put there."
        return Check(TAG, State.WARN, f"{tag_id}, unverified", fix, Help.SETTINGS)
    if tag.tracking_status == "Inactive":
        fix = "Microsoft has seen nothing from it for 24 hours or more. Check that it is still on your pages."
        return Check(TAG, State.WARN, f"{tag_id}, inactive", fix, Help.SETTINGS)
    return Check(TAG, note=f"{tag_id}, active")


def click(short_id: str, clicked_at: datetime | None, goal: Goal, settle: timedelta, now: datetime) -> Check:
    """Judge the click by its age, where it is known; the id's look was judged at the form."""
    if clicked_at is None:
        return Check(CLICK, note=f"{short_id}, its age is not known here")
    age = now - clicked_at
    window = timedelta(minutes=goal.window_minutes) if goal.window_minutes is not None else LONGEST_WINDOW
    if age > min(window, CONVERSION_LIFE):
        fix = "It is older than the goal's window, so Microsoft does not count it. Click one of your ads again."
        return Check(CLICK, State.BAD, f"{short_id}, {age.days} days old", fix)
    if age < settle:
        fix = "Microsoft may lose what follows a click within the hour. Accepted shows that the connection works."
        return Check(CLICK, State.WARN, f"{short_id}, {max(int(age.total_seconds() // 60), 0)} min old", fix)
    return Check(CLICK, note=short_id)


def _stop(title: str, note: str, fix: str, help_: Help = Help.NONE, until: datetime | None = None) -> Check:
    return Check(title, State.BAD, note, fix, help_, until, is_sent=False)
