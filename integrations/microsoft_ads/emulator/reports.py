"""The report of what was attributed, per goal and upload day (cm/getofflineconversionreportbygoalids).

Attribution here knows the clicks that were made on this emulator's search page, and nothing of people's hashes.
"""

from collections import Counter
from collections.abc import Iterable
from datetime import date, timedelta

from integrations.microsoft_ads.emulator.access import account_of, signed_in_user
from integrations.microsoft_ads.emulator.books import Account, Books, Goal, Received
from integrations.microsoft_ads.emulator.rules import Refusal
from integrations.microsoft_ads.emulator.wire import (
    ApiError,
    Json,
    JsonObject,
    Reader,
    Request,
    SentMoment,
    generic_fault,
    names,
    read_body,
    unbindable,
)

GOALS_LIMIT = 20
LONGEST_RANGE = timedelta(days=7)
CHANNELS = names("Unknown CampaignManagementAPI BulkAPI WebUpload")
OURS = "CampaignManagementAPI"


def get_offline_conversion_report_by_goal_ids(books: Books, request: Request) -> JsonObject:
    """Answer with one summary per goal: successes and reasons by upload day. At most 20 goals and 7 days."""
    account = account_of(books, request, signed_in_user(books, request), writes=False)
    reader = read_body(request.body).only(("StartDateUtc", "EndDateUtc", "GoalIds", "UploadChannelFilter"))
    days = _days(reader)
    channels = reader.flags("UploadChannelFilter", CHANNELS)
    ids = reader.long_ids("GoalIds")
    if ids is None or len(ids) > GOALS_LIMIT:
        raise unbindable("GoalIds", f"from 1 to {GOALS_LIMIT} goal ids are due")
    reachable = {goal.id: goal for goal in books.goals_of(account)}
    summaries: list[Json] = []
    errors: list[Json] = []
    for index, goal_id in enumerate(ids):
        goal = reachable.get(goal_id)
        if goal is None:
            refusal = Refusal(5314, "InvalidConversionGoalId", "The conversion goal id is not valid.", "")
            errors.append(refusal.to_json(index, "GoalIds"))
        else:
            wanted = not channels or OURS in channels
            summaries.append(_summary(goal, days, _outcomes(books, account, goal) if wanted else []))
    return {"OfflineGoalConversionSummaries": summaries, "PartialErrors": errors}


def _days(reader: Reader) -> list[date]:
    start, end = reader.moment("StartDateUtc"), reader.moment("EndDateUtc")
    if start is None or end is None or start.utc is None or end.utc is None:
        raise _bad_range(start, end)
    if not timedelta(0) <= end.utc - start.utc <= LONGEST_RANGE:
        raise unbindable("EndDateUtc", f"at most {LONGEST_RANGE.days} days after StartDateUtc is due")
    first = start.utc.date()
    return [first + timedelta(days=number) for number in range((end.utc.date() - first).days + 1)]


def _bad_range(start: SentMoment | None, end: SentMoment | None) -> ApiError:
    member = "StartDateUtc" if start is None or start.utc is None else "EndDateUtc"
    text = f"{member} is missing or not in UTC." if end is None or start is None else f"{member} is not in UTC."
    return generic_fault(113, "InvalidDateObject", text, detail=member)


def _outcomes(books: Books, account: Account, goal: Goal) -> list[tuple[date, str]]:
    """Return day and reason of every row taken for the goal; an empty reason is a success."""
    named = (one for one in books.received if one.account_id == account.id and _is_for(one, goal))
    return [(one.received_at.date(), _reason(books, one)) for one in named if one.code is None]


def _is_for(received: Received, goal: Goal) -> bool:
    return received.row is not None and received.row.get("ConversionName") == goal.name


def _reason(books: Books, received: Received) -> str:
    if received.outcome == "booked" and received.booking_id is not None:
        return books.bookings[received.booking_id - 1].unattributed or ""
    return "" if received.outcome == "applied" else received.outcome


def _summary(goal: Goal, days: list[date], outcomes: list[tuple[date, str]]) -> JsonObject:
    inside = [(day, reason) for day, reason in outcomes if day in days]
    success, lost = _counts(reason for _, reason in inside)
    daily: list[Json] = [_daily(goal, day, [reason for other, reason in inside if other == day]) for day in days]
    return {
        "GoalId": goal.id,
        "ConversionName": goal.name,
        "OverallSuccessCount": str(success),
        "OverallUnattributedCount": str(lost.total()),
        "OverallSuccessRate": _rate(success, lost.total()),
        "OverallAlerts": _alerts(lost),
        "DailySummaries": daily,
    }


def _daily(goal: Goal, day: date, reasons: list[str]) -> JsonObject:
    success, lost = _counts(reasons)
    return {
        "GoalId": goal.id,
        "UploadDate": f"{day.isoformat()}T00:00:00Z",
        "SuccessCount": success,
        "UnattributedCount": lost.total(),
        "SuccessRate": _rate(success, lost.total()),
        "Alerts": _alerts(lost),
    }


def _counts(reasons: Iterable[str]) -> tuple[int, Counter[str]]:
    counts = Counter(reasons)
    return counts.pop("", 0), counts


def _rate(success: int, lost: int) -> float:
    return round(success / (success + lost), 4) if success + lost else 0.0


def _alerts(lost: Counter[str]) -> list[Json]:
    return [{"UnattributedReason": reason, "Count": str(count)} for reason, count in lost.most_common()]
