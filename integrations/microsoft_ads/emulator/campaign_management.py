"""Campaign Management: goals, UET tags, account properties and uploads of the account that the headers name.

Pages: cm/getconversiongoalsbyids, cm/getconversiongoalsbytagids, cm/addconversiongoals, cm/updateconversiongoals,
cm/getuettagsbyids, cm/getaccountproperties, cm/setaccountproperties, cm/applyofflineconversions,
cm/applyofflineconversionadjustments.
"""

from integrations.microsoft_ads.emulator import goals
from integrations.microsoft_ads.emulator.access import account_of, signed_in_user
from integrations.microsoft_ads.emulator.books import Books, Goal, UetTag
from integrations.microsoft_ads.emulator.rules import Refusal
from integrations.microsoft_ads.emulator.wire import (
    Json,
    JsonObject,
    Reader,
    Request,
    campaign_fault,
    generic_fault,
    names,
    read_body,
    unbindable,
)

IDS_LIMIT = 100
AUTO_TAGGING = "MSCLKIDAutoTaggingEnabled"
PROPERTY_NAMES = names(
    """
    None TrackingUrlTemplate MSCLKIDAutoTaggingEnabled AdClickParallelTracking FinalUrlSuffix
    IncludeViewThroughConversions ProfileExpansionEnabled AllowImageAutoRetrieve AutoApplyRecommendations
    IncludeAutoBiddingViewThroughConversions AutoBiddingViewThroughConversionsValueAttributionWeight
    LoopBackWindowForViewThroughConversions BusinessAttributes EnableMMAUnderDSAAdgroups OptOutFromMCM
    NetflixTCAccepted BlockedContentSegments AssetAIEnhancementOptout AcceptNielsenTermsAndConditions
    ImageMissingWarningOptout OptOutFromSystemSourcedImagesInSWF
    """
)


def _reader(request: Request, *members: str) -> Reader:
    return read_body(request.body).only(members)


# Conversion goals


def get_conversion_goals_by_ids(books: Books, request: Request) -> JsonObject:
    """Answer GetConversionGoalsByIds.

    With ids the goals line up by index, null where not found; without, all of the types.
    """
    account = account_of(books, request, signed_in_user(books, request), writes=False)
    reader = _reader(request, "ConversionGoalIds", "ConversionGoalTypes", "ReturnAdditionalFields")
    types, fields = _types(reader), reader.flags("ReturnAdditionalFields", goals.ADDITIONAL_FIELDS)
    ids = reader.long_ids("ConversionGoalIds")
    if ids is not None and len(ids) > IDS_LIMIT:
        raise campaign_fault(
            5318, "ConversionGoalIdArrayExceedsLimit", f"At most {IDS_LIMIT} conversion goal ids are allowed."
        )
    reachable = {goal.id: goal for goal in books.goals_of(account)}
    if ids is None:
        found: list[Json] = [goals.to_json(goal, fields) for goal in reachable.values() if goal.type in types]
        return {"ConversionGoals": found, "PartialErrors": []}
    answers: list[Json] = []
    errors: list[Json] = []
    for index, goal_id in enumerate(ids):
        goal = reachable.get(goal_id)
        refusal = _goal_refusal(goal, types)
        answers.append(goals.to_json(goal, fields) if goal and not refusal else None)
        if refusal:
            errors.append(refusal.to_json(index, "ConversionGoalIds"))
    return {"ConversionGoals": answers, "PartialErrors": errors}


def _types(reader: Reader) -> set[str]:
    types = reader.flags("ConversionGoalTypes", goals.TYPES)
    if not types:
        raise campaign_fault(5329, "ConversionGoalTypesNotPassed", "The conversion goal types are missing.")
    return types


def _goal_refusal(goal: Goal | None, types: set[str]) -> Refusal | None:
    if goal is None:
        return Refusal(5314, "InvalidConversionGoalId", "The conversion goal id is not valid.", "")
    if goal.type not in types:
        return Refusal(5331, "ConversionGoalTypeNotMatched", "The conversion goal is of another type.", "")
    return None


def get_conversion_goals_by_tag_ids(books: Books, request: Request) -> JsonObject:
    """Answer GetConversionGoalsByTagIds. Offline goals have no tag and are never among them."""
    account = account_of(books, request, signed_in_user(books, request), writes=False)
    reader = _reader(request, "TagIds", "ConversionGoalTypes", "ReturnAdditionalFields")
    tag_ids = reader.long_ids("TagIds")
    if tag_ids is None:
        raise campaign_fault(5330, "UetTagIdsNotPassed", "The UET tag ids are missing.")
    if len(tag_ids) > IDS_LIMIT:
        raise campaign_fault(5304, "UetTagIdsExceedsLimit", f"At most {IDS_LIMIT} UET tag ids are allowed.")
    types, fields = _types(reader), reader.flags("ReturnAdditionalFields", goals.ADDITIONAL_FIELDS)
    found: list[Json] = [
        goals.to_json(goal, fields) for goal in books.goals_of(account) if goal.type in types and goal.tag_id in tag_ids
    ]
    return {"ConversionGoals": found, "PartialErrors": []}


def add_conversion_goals(books: Books, request: Request) -> JsonObject:
    """Answer AddConversionGoals: ids by index, null where refused. Adding switches MSCLKID auto-tagging on (3.4)."""
    account = account_of(books, request, signed_in_user(books, request), writes=True)
    rows = _goal_rows(request)
    ids: list[Json] = []
    errors: list[Json] = []
    seen: set[str] = set()
    for index, row in enumerate(rows):
        refusals = goals.refusals_of_new(row, account, books, seen)
        errors.extend(refusal.to_json(index, "ConversionGoals") for refusal in refusals)
        if row is None or refusals:
            ids.append(None)
            continue
        goal = goals.create(row, account, books, request.received_at)
        seen.add(goal.name)
        ids.append(goal.id)
    return {"ConversionGoalIds": ids, "PartialErrors": errors}


def update_conversion_goals(books: Books, request: Request) -> JsonObject:
    """Answer UpdateConversionGoals: absent members stay, a Revenue that is present replaces all of it (3.4)."""
    account = account_of(books, request, signed_in_user(books, request), writes=True)
    rows = _goal_rows(request)
    errors: list[Json] = []
    seen: set[str] = set()
    for index, row in enumerate(rows):
        refusals = goals.refusals_of_change(row, account, books, seen)
        errors.extend(refusal.to_json(index, "ConversionGoals") for refusal in refusals)
        if row is not None and not refusals:
            goals.change(row, account, books)
        if row is not None and row.id:
            seen.add(row.id)
    return {"PartialErrors": errors}


def _goal_rows(request: Request) -> list[goals.GoalRow | None]:
    rows = _reader(request, "ConversionGoals").objects("ConversionGoals", goals.read_goal)
    if not rows:
        raise campaign_fault(5321, "ConversionGoalsNotPassed", "The list of conversion goals is null or empty.")
    if len(rows) > IDS_LIMIT:
        raise campaign_fault(
            5322, "ConversionGoalArrayExceedsLimit", f"At most {IDS_LIMIT} conversion goals are allowed."
        )
    return rows


# UET tags


def get_uet_tags_by_ids(books: Books, request: Request) -> JsonObject:
    """Answer GetUetTagsByIds: the tags of the header's customer, all of them when no ids are given.

    Source: cm/getuettagsbyids.
    """
    account = account_of(books, request, signed_in_user(books, request), writes=False)
    reader = _reader(request, "TagIds", "ReturnAdditionalFields")
    fields = reader.flags("ReturnAdditionalFields", frozenset(("None", "Industry")))
    ids = reader.long_ids("TagIds")
    if ids is not None and len(ids) > IDS_LIMIT:
        raise campaign_fault(5304, "UetTagIdsExceedsLimit", f"At most {IDS_LIMIT} UET tag ids are allowed.")
    reachable = {tag.id: tag for tag in books.tags.values() if tag.customer_id == account.customer_id}
    if ids is None:
        return {"UetTags": [_tag_json(tag, fields) for tag in reachable.values()], "PartialErrors": []}
    found: list[Json] = [_tag_json(reachable[tag_id], fields) if tag_id in reachable else None for tag_id in ids]
    missing = Refusal(5300, "InvalidUetTagId", "The UET tag id is not valid.", "")
    errors: list[Json] = [missing.to_json(i, "TagIds") for i, tag_id in enumerate(ids) if tag_id not in reachable]
    return {"UetTags": found, "PartialErrors": errors}


def _tag_json(tag: UetTag, fields: set[str]) -> JsonObject:
    answer: JsonObject = {
        "Id": tag.id,
        "Name": tag.name,
        "Description": tag.description,
        "TrackingStatus": tag.status,
        "TrackingScript": f"<script>/* UET tag {tag.id} */</script>",
        "TrackingNoScript": f'<img src="//bat.bing.com/action/0?ti={tag.id}&Ver=2" height="0" width="0" alt="">',
        "CustomerShare": None,
    }
    if "Industry" in fields:
        answer["Industry"] = tag.industry
    return answer


# Account properties


def get_account_properties(books: Books, request: Request) -> JsonObject:
    """Answer GetAccountProperties. Values are strings, `"true"` and `"false"` (cm/accountproperty)."""
    account = account_of(books, request, signed_in_user(books, request), writes=False)
    names = _reader(request, "AccountPropertyNames").items("AccountPropertyNames")
    if not names:
        raise generic_fault(
            206, "NullArrayArgument", "AccountPropertyNames is null or empty.", detail="AccountPropertyNames"
        )
    found: list[Json] = []
    for name in names:
        _check_property(name)
        found.append({"Name": AUTO_TAGGING, "Value": "true" if account.auto_tagging else "false"})
    return {"AccountProperties": found, "PartialErrors": []}


def _check_property(name: Json) -> None:
    if not isinstance(name, str) or name not in PROPERTY_NAMES:
        raise unbindable("AccountPropertyNames", "a name of the enumeration is due")
    if name != AUTO_TAGGING:
        raise generic_fault(
            204, "OperationNotSupported", f"The emulator keeps {AUTO_TAGGING} only, not {name}.", detail=name
        )


def set_account_properties(books: Books, request: Request) -> JsonObject:
    """Answer SetAccountProperties with no elements. All or nothing (cm/setaccountproperties)."""
    account = account_of(books, request, signed_in_user(books, request), writes=True)
    properties = _reader(request, "AccountProperties").objects("AccountProperties", _property)
    if not properties or None in properties:
        raise generic_fault(206, "NullArrayArgument", "AccountProperties is null or empty.", detail="AccountProperties")
    account.auto_tagging = properties[-1] == "true"
    books.put(account)
    return {}


def _property(reader: Reader) -> str:
    reader.only(("Name", "Value"))
    _check_property(reader.text("Name"))
    value = reader.text("Value")
    if value not in ("true", "false"):
        raise unbindable("AccountProperties.Value", '"true" or "false" is due, as a string')
    return value
