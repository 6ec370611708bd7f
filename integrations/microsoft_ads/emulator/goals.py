"""Conversion goals: how they look on the wire, and the documented rules for adding and changing them (3.4, 5.5).

Only offline goals can be added or changed here; the others exist to be listed beside them.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import TypeAlias

from integrations.microsoft_ads.emulator.books import Account, Books, Goal
from integrations.microsoft_ads.emulator.rules import CURRENCIES, Refusal
from integrations.microsoft_ads.emulator.wire import Json, JsonObject, Reader, names

TYPES = frozenset(
    (
        "None",
        "Url",
        "Duration",
        "PagesViewedPerVisit",
        "Event",
        "AppInstall",
        "OfflineConversion",
        "InStoreTransaction",
        "AppDownload",
    )
)
ADDITIONAL_FIELDS = names(
    """
    None ViewThroughConversionWindowInMinutes IsExternallyAttributed GoalCategory InactiveDueToTagUnavailable
    AttributionModelType IsEnhancedConversionsEnabled IsAutoGoal DataDrivenAttribute ApplicationDownloadGoal
    """
)
CATEGORIES = names(
    """
    AddToCart BeginCheckout BookAppointment Contact GetDirections Other OutboundClick PageView Purchase RequestQuote
    Signup SubmitLeadForm Subscribe
    """
)
MEMBERS = names(
    """
    Id Type Name Status Scope CountType Revenue ConversionWindowInMinutes TagId TrackingStatus ExcludeFromBidding
    GoalCategory ViewThroughConversionWindowInMinutes AttributionModelType IsEnhancedConversionsEnabled IsAutoGoal
    IsExternallyAttributed
    """
)
OFFLINE = "OfflineConversion"
LONGEST_NAME = 100
LONGEST_WINDOW = 129600  # 90 days
ACCOUNT_QUOTA = 1000  # guides/entity-hierarchy-limits
CUSTOMER_QUOTA = 5000


@dataclass(frozen=True, slots=True)
class Revenue:
    type: str | None
    value: Decimal | None
    currency: str | None


@dataclass(frozen=True, slots=True)
class GoalRow:
    """One goal of an add or an update, as bound. None means absent."""

    id: str | None
    type: str | None
    name: str | None
    status: str | None
    scope: str | None
    category: str | None
    count_type: str | None
    window_minutes: int | None
    revenue: Revenue | None
    is_enhanced: bool | None
    is_externally_attributed: bool | None
    exclude_from_bidding: bool | None
    view_through_minutes: int | None


def read_goal(reader: Reader) -> GoalRow:
    """Bind one goal. Raises ApiError for a member that does not exist or is of another type."""
    reader.only(MEMBERS)
    revenue = reader.object("Revenue")
    return GoalRow(
        id=reader.long_id("Id"),
        type=reader.choice("Type", TYPES),
        name=reader.text("Name"),
        status=reader.text("Status"),
        scope=reader.choice("Scope", ("Account", "Customer")),
        category=reader.text("GoalCategory"),
        count_type=reader.choice("CountType", ("All", "Unique")),
        window_minutes=reader.integer("ConversionWindowInMinutes"),
        revenue=None if revenue is None else _read_revenue(revenue),
        is_enhanced=reader.flag("IsEnhancedConversionsEnabled"),
        is_externally_attributed=reader.flag("IsExternallyAttributed"),
        exclude_from_bidding=reader.flag("ExcludeFromBidding"),
        view_through_minutes=reader.integer("ViewThroughConversionWindowInMinutes"),
    )


def _read_revenue(reader: Reader) -> Revenue:
    reader.only(("Type", "Value", "CurrencyCode"))
    return Revenue(reader.text("Type"), reader.number("Value"), reader.text("CurrencyCode"))


def to_json(goal: Goal, fields: set[str]) -> JsonObject:
    """Return a goal as the services print it. Fields of ReturnAdditionalFields are missing unless asked for (3.4)."""
    offline = goal.type == OFFLINE
    answer: JsonObject = {
        "Type": goal.type,
        "Id": goal.id,
        "Name": goal.name,
        "Status": goal.status,
        "Scope": goal.scope,
        "CountType": goal.count_type,
        "ConversionWindowInMinutes": goal.window_minutes,
        "Revenue": {"Type": goal.revenue_type, "Value": goal.revenue_value, "CurrencyCode": goal.revenue_currency},
        "TagId": goal.tag_id,
        "TrackingStatus": "NoRecentConversions" if offline else "RecordingConversions",
        "ExcludeFromBidding": goal.exclude_from_bidding,
    }
    more: dict[str, Json] = {
        "GoalCategory": goal.category,
        "IsEnhancedConversionsEnabled": goal.is_enhanced,
        "IsAutoGoal": False,
        "AttributionModelType": "LastClick",
        "ViewThroughConversionWindowInMinutes": None if offline else 1440,
    }
    if offline:
        more["IsExternallyAttributed"] = goal.is_externally_attributed
    answer.update({name: value for name, value in more.items() if name in fields})
    return answer


@dataclass(frozen=True, slots=True)
class GoalScene:
    """What a goal row is judged against. `goal` is the one it changes, None when it is new."""

    account: Account
    books: Books
    seen: set[str]
    goal: Goal | None


GoalRule: TypeAlias = Callable[[GoalRow, GoalScene], Refusal | None]


def id_is_absent(row: GoalRow, _scene: GoalScene) -> Refusal | None:
    """A new goal has no Id: 5324 (cm/offlineconversiongoal)."""
    return None if row.id is None else Refusal(5324, "ConversionGoalIdIsNotNull", "A new goal takes no id.", "Id")


def type_is_offline(row: GoalRow, _scene: GoalScene) -> Refusal | None:
    """Only offline goals can be added here: 204 for the other types, which the emulator does not keep."""
    if row.type == OFFLINE:
        return None
    return Refusal(204, "OperationNotSupported", "The emulator adds goals of Type OfflineConversion only.", "Type")


def name_is_given(row: GoalRow, _scene: GoalScene) -> Refusal | None:
    """Name is required: 5319 (cm/offlineconversiongoal)."""
    return None if row.name else Refusal(5319, "ConversionGoalNameNotPassed", "The goal's name is missing.", "Name")


def name_is_short_enough(row: GoalRow, _scene: GoalScene) -> Refusal | None:
    """Name has at most 100 characters: 5320 (cm/offlineconversiongoal)."""
    if row.name is None or len(row.name) <= LONGEST_NAME:
        return None
    return Refusal(
        5320, "InvalidConversionGoalName", f"The goal's name is longer than {LONGEST_NAME} characters.", "Name"
    )


def name_is_new_in_the_request(row: GoalRow, scene: GoalScene) -> Refusal | None:
    """No two goals of a request share a name: 5316 (guides/operation-error-codes)."""
    if row.name not in scene.seen:
        return None
    return Refusal(5316, "DuplicateConversionGoalName", "The goal's name occurs twice in the request.", "Name")


def name_is_free(row: GoalRow, scene: GoalScene) -> Refusal | None:
    """Name is unique over all goals of the customer, of any type: 5317 (cm/offlineconversiongoal)."""
    taken = any(
        goal.name == row.name and goal.customer_id == scene.account.customer_id and goal is not scene.goal
        for goal in scene.books.goals.values()
    )
    if row.name is None or not taken or row.name in scene.seen:
        return None
    return Refusal(5317, "ConversionGoalNameAlreadyExists", "A goal of this name already exists.", "Name")


def category_fits(row: GoalRow, scene: GoalScene) -> Refusal | None:
    """GoalCategory is required and one of those for offline goals (guides/release-notes June 2021).

    Its code is not published: 201.
    """
    if (row.category is None and scene.goal is not None) or row.category in CATEGORIES:
        return None
    message = "GoalCategory is missing or not one for offline goals."
    return Refusal(201, "ApiInputValidationError", message, "GoalCategory")


def status_is_known(row: GoalRow, _scene: GoalScene) -> Refusal | None:
    """Status is Active or Paused; Deleted is Microsoft's own: 5328 (cm/conversiongoalstatus)."""
    if row.status in (None, "Active", "Paused"):
        return None
    return Refusal(5328, "InvalidConversionGoalStatus", "The goal's status is not valid.", "Status")


def window_is_in_range(row: GoalRow, _scene: GoalScene) -> Refusal | None:
    """ConversionWindowInMinutes is from 1 to 129600: 5337 (cm/offlineconversiongoal)."""
    if row.window_minutes is None or 1 <= row.window_minutes <= LONGEST_WINDOW:
        return None
    message = f"The conversion window is not from 1 to {LONGEST_WINDOW} minutes."
    return Refusal(5337, "InvalidConversionGoalConversionWindow", message, "ConversionWindowInMinutes")


def revenue_type_is_known(row: GoalRow, _scene: GoalScene) -> Refusal | None:
    """Revenue.Type is FixedValue, VariableValue or NoValue: 5332 (cm/conversiongoalrevenue)."""
    if row.revenue is None or row.revenue.type in (None, "FixedValue", "VariableValue", "NoValue"):
        return None
    return Refusal(5332, "InvalidConversionGoalRevenueType", "The revenue type is not valid.", "Revenue.Type")


def revenue_value_fits(row: GoalRow, _scene: GoalScene) -> Refusal | None:
    """FixedValue needs a value, NoValue forbids one, and none is negative: 5333 (cm/conversiongoalrevenue)."""
    if row.revenue is None:
        return None
    kind, value = row.revenue.type or "NoValue", row.revenue.value
    fits = {"FixedValue": value is not None, "NoValue": value is None}.get(kind, True)
    if fits and (value is None or value >= 0):
        return None
    return Refusal(
        5333, "InvalidConversionGoalRevenueValue", "The revenue value does not fit its type.", "Revenue.Value"
    )


def revenue_currency_is_listed(row: GoalRow, _scene: GoalScene) -> Refusal | None:
    """Revenue.CurrencyCode is one of the conversion goal currencies: 5351 (guides/currencies)."""
    if row.revenue is None or row.revenue.currency is None or row.revenue.currency in CURRENCIES:
        return None
    return Refusal(5351, "InvalidGoalCurrencyCode", "The goal's currency code is not valid.", "Revenue.CurrencyCode")


def wide_revenue_has_a_currency(row: GoalRow, scene: GoalScene) -> Refusal | None:
    """Customer scope with a fixed or variable value needs a currency: 5355 (cm/conversiongoalrevenue)."""
    scope = row.scope or (scene.goal.scope if scene.goal else "Account")
    if scope != "Customer" or row.revenue is None or row.revenue.currency:
        return None
    if row.revenue.type not in ("FixedValue", "VariableValue"):
        return None
    return Refusal(5355, "GoalCurrencyCodeIsNull", "A goal of all accounts needs a currency.", "Revenue.CurrencyCode")


def view_through_is_absent(row: GoalRow, _scene: GoalScene) -> Refusal | None:
    """Offline goals have no view-through window: 6609 (guides/operation-error-codes)."""
    if row.view_through_minutes is None:
        return None
    message = "View-through conversions do not apply to this type of goal."
    member = "ViewThroughConversionWindowInMinutes"
    return Refusal(6609, "ViewThroughConversionNotApplicableToGoalType", message, member)


def bidding_is_included(row: GoalRow, _scene: GoalScene) -> Refusal | None:
    """ExcludeFromBidding true is for customers with feature 574, and nobody here has it: 6610 (cm/conversiongoal)."""
    if not row.exclude_from_bidding:
        return None
    message = "The customer is not eligible for conversion goal selection."
    return Refusal(6610, "CustomerNotEligibleForConversionGoalSelection", message, "ExcludeFromBidding")


def account_has_room(_row: GoalRow, scene: GoalScene) -> Refusal | None:
    """An account holds at most 1,000 goals: 5326 (guides/entity-hierarchy-limits)."""
    if sum(goal.account_id == scene.account.id for goal in scene.books.goals.values()) < ACCOUNT_QUOTA:
        return None
    return Refusal(5326, "TotalConversionGoalsExceedAccountLimit", "The account holds no more goals.", "")


def customer_has_room(_row: GoalRow, scene: GoalScene) -> Refusal | None:
    """A customer holds at most 5,000 goals: 5327 (guides/entity-hierarchy-limits)."""
    if sum(goal.customer_id == scene.account.customer_id for goal in scene.books.goals.values()) < CUSTOMER_QUOTA:
        return None
    return Refusal(5327, "TotalConversionGoalsExceedCustomerLimit", "The customer holds no more goals.", "")


def type_is_unchanged(row: GoalRow, scene: GoalScene) -> Refusal | None:
    """A goal's Type never changes: 5356 (cm/offlineconversiongoal)."""
    if scene.goal is None or row.type in (None, scene.goal.type):
        return None
    return Refusal(5356, "GoalTypeCannotBeChanged", "A goal's type cannot be changed.", "Type")


def id_is_new_in_the_request(row: GoalRow, scene: GoalScene) -> Refusal | None:
    """No two changes of a request share an Id: 5315 (guides/operation-error-codes)."""
    if row.id not in scene.seen:
        return None
    return Refusal(5315, "DuplicateConversionGoalId", "The goal's id occurs twice in the request.", "Id")


SHARED_RULES: tuple[GoalRule, ...] = (
    name_is_short_enough,
    name_is_free,
    category_fits,
    status_is_known,
    window_is_in_range,
    revenue_type_is_known,
    revenue_value_fits,
    revenue_currency_is_listed,
    wide_revenue_has_a_currency,
    view_through_is_absent,
    bidding_is_included,
)
ADD_RULES: tuple[GoalRule, ...] = (
    id_is_absent,
    type_is_offline,
    name_is_given,
    name_is_new_in_the_request,
    account_has_room,
    customer_has_room,
    *SHARED_RULES,
)
UPDATE_RULES: tuple[GoalRule, ...] = (type_is_unchanged, id_is_new_in_the_request, *SHARED_RULES)


def refusals_of_new(row: GoalRow | None, account: Account, books: Books, seen: set[str]) -> list[Refusal]:
    """Return why a goal cannot be added; `seen` are the names of the request so far. A null row is 5323."""
    if row is None:
        return [Refusal(5323, "ConversionGoalIsNull", "The conversion goal is null.", "")]
    scene = GoalScene(account, books, seen, None)
    return [refusal for rule in ADD_RULES if (refusal := rule(row, scene))]


def refusals_of_change(row: GoalRow | None, account: Account, books: Books, seen: set[str]) -> list[Refusal]:
    """Return why a goal cannot be changed; `seen` are the ids of the request so far.

    5323, 5325 and 5314 say there is none.
    """
    if row is None:
        return [Refusal(5323, "ConversionGoalIsNull", "The conversion goal is null.", "")]
    if row.id is None:
        return [Refusal(5325, "ConversionGoalIdIsNull", "The goal's id is missing.", "Id")]
    goal = books.goals.get(row.id)
    if goal is None or not books.applies(goal, account) or goal.type != OFFLINE:
        return [Refusal(5314, "InvalidConversionGoalId", "The conversion goal id is not valid.", "Id")]
    scene = GoalScene(account, books, seen, goal)
    return [refusal for rule in UPDATE_RULES if (refusal := rule(row, scene))]


def create(row: GoalRow, account: Account, books: Books, now: datetime) -> Goal:
    """Add a goal that no rule refuses. Revenue defaults to NoValue in the account's currency; auto-tagging goes on."""
    revenue = row.revenue or Revenue("NoValue", None, None)
    goal = Goal(
        id=books.next_goal_id(),
        type=OFFLINE,
        name=row.name or "",
        account_id=account.id,
        customer_id=account.customer_id,
        created_at=now,
        status=row.status or "Active",
        scope=row.scope or "Account",
        category=row.category or "Other",
        count_type=row.count_type or "All",
        window_minutes=row.window_minutes or 43200,
        is_enhanced=bool(row.is_enhanced),
        is_externally_attributed=bool(row.is_externally_attributed),
    )
    _set_revenue(goal, revenue, account)
    books.put(goal)
    _switch_auto_tagging_on(goal, account, books)
    return goal


def change(row: GoalRow, account: Account, books: Books) -> None:
    """Change a goal that no rule refuses. Scope is read-only and stays."""
    goal = replace(books.goals[row.id or ""])
    goal.name = row.name or goal.name
    goal.status = row.status or goal.status
    goal.category = row.category or goal.category
    goal.count_type = row.count_type or goal.count_type
    goal.window_minutes = row.window_minutes or goal.window_minutes
    if row.is_enhanced is not None:
        goal.is_enhanced = row.is_enhanced
    if row.is_externally_attributed is not None:
        goal.is_externally_attributed = row.is_externally_attributed
    if row.revenue is not None:
        _set_revenue(goal, row.revenue, account)
    books.put(goal)
    _switch_auto_tagging_on(goal, account, books)


def _set_revenue(goal: Goal, revenue: Revenue, account: Account) -> None:
    goal.revenue_type = revenue.type or "NoValue"
    goal.revenue_value = revenue.value
    goal.revenue_currency = revenue.currency or (account.currency if goal.revenue_type != "NoValue" else None)


def _switch_auto_tagging_on(goal: Goal, account: Account, books: Books) -> None:
    affected = [one for one in books.accounts.values() if one.customer_id == account.customer_id]
    for one in affected if goal.scope == "Customer" else [account]:
        one.auto_tagging = True
        books.put(one)
