"""What an account has at Microsoft: its offline conversion goals, and the UET tags it may name."""

import logging
from dataclasses import dataclass
from datetime import datetime

from django.contrib.auth.models import User
from django.db import models, transaction

from ingest.audit import record
from integrations.microsoft import client_for
from integrations.microsoft_ads import shapes
from integrations.microsoft_ads.shapes import NewGoal, UetTag
from integrations.models import MAX_GOAL_NAME_CHARS, AdAccount, ConversionGoal

# How Microsoft describes a goal, in our columns.
_DESCRIBED = (
    "name",
    "goal_type",
    "status",
    "count_type",
    "category",
    "scope",
    "window_minutes",
    "revenue_type",
    "revenue_currency",
    "is_enhanced",
)
_UPDATED = (*_DESCRIBED, "gone_at")
INVALID_TAG = "Invalid UET tag: check it under Tools → UET tag."
_TAG_NOTES = {
    "Unverified": "Microsoft has not seen this tag on any page yet. It can take a day after it was put there.",
    "Inactive": "Microsoft has seen nothing from this tag for 24 hours or more.",
}

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RenamedGoal:
    """A goal that has another name at Microsoft than we had noted. Its mappings follow it, as they hold its id."""

    goal: ConversionGoal
    old_name: str


@dataclass(frozen=True, slots=True)
class GoalSync:
    """What reading an account's goals brought: new or back again, renamed, no longer listed; `total` are there now.

    `restored` take conversions under their name now and did not before: they were gone or paused, or called otherwise.
    `stopped` are still listed and take none any more.
    """

    added: tuple[ConversionGoal, ...]
    renamed: tuple[RenamedGoal, ...]
    gone: tuple[ConversionGoal, ...]
    restored: tuple[ConversionGoal, ...]
    stopped: tuple[ConversionGoal, ...]
    total: int


def sync_goals(account: AdAccount, now: datetime) -> GoalSync:
    """Read the account's offline goals from Microsoft and note what changed; the facts are for callers to act on.

    A goal keeps its row by Microsoft's id, whatever it is called. Raises MicrosoftAdsError, nothing changed.
    Sets `account.goals_synced_at`, also on the instance given.
    """
    found = client_for(account).get_offline_conversion_goals()
    with transaction.atomic():
        locked = AdAccount.objects.select_for_update(no_key=True).get(pk=account.pk)
        if locked.goals_synced_at is not None and locked.goals_synced_at > now:
            # A reading that began later was faster: ours is the older news.
            return GoalSync((), (), (), (), (), account.goals.filter(gone_at__isnull=True).count())
        is_first_reading = locked.goals_synced_at is None
        sync = _note(locked, found, first_seen_at=None if is_first_reading else now, now=now)
        locked.goals_synced_at = now
        locked.save(update_fields=["goals_synced_at"])
    account.goals_synced_at = now
    return sync


def create_goal(account: AdAccount, goal: NewGoal, actor: User, now: datetime) -> str:
    """Make an offline goal at Microsoft; return its id there. The account's goals have to be read anew afterwards.

    Nothing of ours can take it back: Microsoft's API deletes no goal. Raises MicrosoftAdsError, a Fault with code 5317
    where the customer has a goal of this name.
    """
    goal_id = client_for(account).add_offline_conversion_goal(goal)
    site = account.site
    details = {
        "goal": goal.name,
        "goal_id": goal_id,
        "account": str(account),
        "category": goal.category,
        "count_type": goal.count_type,
    }
    record(actor, "goal.create", organisation=site.organisation, site=site, target=goal.name, details=details, now=now)
    logger.info("Account %s: user %s created goal %s", account.account_id, actor.pk, goal_id)
    return goal_id


def uet_tags(account: AdAccount) -> list[UetTag]:
    """Return the UET tags that the account's customer can use. Raises MicrosoftAdsError."""
    return client_for(account).get_uet_tags()


def check_uet_tag(account: AdAccount, tag_id: str) -> str:
    """Return why a tag id is wrong, in words, or an empty text when the account has such a tag.

    No id at all is right too: the tag is optional. Raises MicrosoftAdsError.
    """
    if not tag_id:
        return ""
    if not (tag_id.isascii() and tag_id.isdigit()):
        return f"{INVALID_TAG} An ID is a number, such as 343118260."
    if any(tag.tag_id == tag_id for tag in uet_tags(account)):
        return ""
    return f"{INVALID_TAG} Microsoft lists no tag {tag_id[:32]} that {account.name} can use."


def tag_note(tag: UetTag) -> str:
    """Return what a person should know of a tag's state, empty when pages show it. It does not make an id wrong."""
    return _TAG_NOTES.get(tag.tracking_status, "")


def _note(
    account: AdAccount, found: list[shapes.ConversionGoal], first_seen_at: datetime | None, now: datetime
) -> GoalSync:
    known = {goal.goal_id: goal for goal in account.goals.all()}
    added, renamed, changed, restored, stopped = [], [], [], [], []
    listed = [described for described in found if _is_storable(account, described)]
    for described in listed:
        goal = known.pop(described.goal_id, None)
        if goal is None:
            goal = ConversionGoal(
                account=account, goal_id=described.goal_id, first_seen_at=first_seen_at, synced_at=now
            )
            added.append(goal)
        elif goal.gone_at is not None:
            added.append(goal)
        elif goal.name != described.name:
            renamed.append(RenamedGoal(goal, goal.name))
        taken_as = goal.name if goal.is_available else None
        if _describe(goal, described):
            changed.append(goal)
        if goal.pk is not None and goal.is_available and goal.name != taken_as:
            restored.append(goal)
        if taken_as is not None and not goal.is_available:
            stopped.append(goal)
    gone = [goal for goal in known.values() if goal.gone_at is None]
    for goal in gone:
        goal.gone_at = now
    ConversionGoal.objects.bulk_create(goal for goal in added if goal.pk is None)
    ConversionGoal.objects.bulk_update([goal for goal in [*changed, *gone] if goal.pk], _UPDATED, batch_size=200)
    account.goals.filter(gone_at__isnull=True).update(synced_at=now)
    return GoalSync(tuple(added), tuple(renamed), tuple(gone), tuple(restored), tuple(stopped), len(listed))


def _is_storable(account: AdAccount, described: shapes.ConversionGoal) -> bool:
    """Say whether a goal's name is within Microsoft's own limit: cut, it would name nothing."""
    if len(described.name) <= MAX_GOAL_NAME_CHARS:
        return True
    logger.warning("Account %s: goal %s has too long a name", account.account_id, described.goal_id)
    return False


def _describe(goal: ConversionGoal, described: shapes.ConversionGoal) -> bool:
    """Put Microsoft's description on a goal that is listed; return whether anything is different now."""
    wanted = {name: fitting(ConversionGoal, name, getattr(described, name)) for name in _DESCRIBED} | {"gone_at": None}
    is_different = any(getattr(goal, name) != value for name, value in wanted.items())
    for name, value in wanted.items():
        setattr(goal, name, value)
    return is_different


def fitting(model: type[models.Model], name: str, value: object) -> object:
    """Cut a text of Microsoft's to its column, so that a word longer than any they document cannot fail a commit."""
    column = model._meta.get_field(name)
    longest = column.max_length if isinstance(column, models.CharField) else None
    return value[:longest] if isinstance(value, str) else value
