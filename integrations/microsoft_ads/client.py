"""Microsoft Advertising's operations that Convultra uses, one method each, in the order of Microsoft's reference."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date

import requests

from integrations.microsoft_ads import transport, wire
from integrations.microsoft_ads.answers import Answer, item_results
from integrations.microsoft_ads.auth import BearerAuth, attached_token, is_header_safe
from integrations.microsoft_ads.endpoints import Endpoints
from integrations.microsoft_ads.errors import UnexpectedAnswer, WhatToDo
from integrations.microsoft_ads.shapes import (
    Account,
    ApplyResult,
    ConversionGoal,
    CustomerRole,
    GoalReport,
    NewGoal,
    OfflineConversion,
    OfflineConversionAdjustment,
    UetTag,
    UploadDay,
    User,
)
from integrations.microsoft_ads.strict_json import Json, Members, ShapeError, is_identifier
from integrations.microsoft_ads.transport import Deadline

API_REVISION = "2026-10-12"  # pinned, so that answers gain no versioned field unasked (cm/api-versioning)
USER_AGENT = "Convultra/1"
PAGE_SIZE = 1_000  # the most that SearchAccounts returns, and 0 if left out (cust/paging)
MAX_PAGES = 100
REPORT_GOALS, REPORT_DAYS = 20, 7  # cm/getofflineconversionreportbygoalids
AUTO_TAGGING = "MSCLKIDAutoTaggingEnabled"

# The page of the goal prints the first, one of its siblings' templates the second (cm/offlineconversiongoal).
_OFFLINE_TYPES = frozenset({"OfflineConversion", "OfflineConversionGoal"})


class MicrosoftAdsClient:
    """One login's view of one account, or of the login itself where no account is named.

    Every method makes one attempt, plus one identical replay after a stale token was renewed. `timeout_seconds` bounds
    it as a whole, but for ten seconds to connect and what the renewal takes. All raise MicrosoftAdsError, which is a
    TokenError if no token is to be had. Account operations need `customer_id` (the account's ParentCustomerId) and
    `account_id`. A session of the caller's should come from `transport.open_session`.
    """

    def __init__(
        self,
        endpoints: Endpoints,
        developer_token: str,
        auth: BearerAuth,
        *,
        customer_id: str = "",
        account_id: str = "",
        session: requests.Session | None = None,
        timeout_seconds: float = 60.0,
    ) -> None:
        if not is_header_safe(developer_token):
            raise ValueError("The developer token is empty, or cannot travel in a header")
        if not all(is_identifier(identifier) for identifier in (customer_id, account_id) if identifier):
            raise ValueError("customer_id and account_id are Microsoft's numbers")
        self._endpoints = endpoints
        self._developer_token = developer_token
        self._auth = auth
        self._customer_id = customer_id
        self._account_id = account_id
        self._session = session or transport.open_session()
        self._timeout_seconds = timeout_seconds

    # Customer Management

    def get_user(self) -> User:
        """Return the user whose token this is, with one role per customer that they reach.

        It needs no account, which makes it the natural test of a connection.
        Source: GetUser, Customer Management v13.
        """
        return self._customer_management("User/Query", {"UserId": None}).read(_user)

    def search_accounts(self, user_id: str) -> list[Account]:
        """Return every account that a user can reach, all pages, ordered by id.

        Microsoft gives no total: a page shorter than asked for is the last. A list that never ends is an
        UnexpectedAnswer. Source: SearchAccounts, Customer Management v13.
        """
        found: dict[str, Account] = {}
        for index in range(MAX_PAGES):
            body = _search_body("UserId", user_id, index)
            page = self._customer_management("Accounts/Search", body).read(_accounts)
            is_repeated = bool(page) and all(account.account_id in found for account in page)
            found.update({account.account_id: account for account in page})
            if len(page) < PAGE_SIZE:
                return list(found.values())
            if is_repeated:
                break
        raise UnexpectedAnswer("The list of accounts does not end", what_to_do=WhatToDo.UNKNOWN)

    def find_account(self, account_id: str) -> Account | None:
        """Return one account by its id, None when the user does not reach it. Source: SearchAccounts, as above."""
        found = self._customer_management("Accounts/Search", _search_body("AccountId", account_id, 0)).read(_accounts)
        return next((account for account in found if account.account_id == account_id), None)

    # Campaign Management

    def get_offline_conversion_goals(self) -> list[ConversionGoal]:
        """Return the account's goals of type OfflineConversion, the only ones that uploads can name.

        Source: GetConversionGoalsByIds, Campaign Management v13.
        """
        body: dict[str, Json] = {
            "ConversionGoalIds": None,
            "ConversionGoalTypes": "OfflineConversion",
            # Left out, these members are missing from the answer (cm/conversiongoaladditionalfield).
            "ReturnAdditionalFields": "GoalCategory, IsEnhancedConversionsEnabled, IsExternallyAttributed",
        }
        return self._campaign_management("ConversionGoals/QueryByIds", _json_body(body)).read_whole(_goals)

    def add_offline_conversion_goal(self, goal: NewGoal) -> str:
        """Make an offline goal of this account, active at once; return its id. It takes conversions two hours later.

        Microsoft switches the account's auto-tagging on with it. Nothing can be deleted by API, and a name is taken
        for the whole customer: raises Fault with 5317 then.
        Source: AddConversionGoals, Campaign Management v13.
        """
        body: dict[str, Json] = {"ConversionGoals": [_new_goal(goal)]}
        return self._campaign_management("ConversionGoals", _json_body(body)).read_whole(_goal_id)

    def get_uet_tags(self) -> list[UetTag]:
        """Return every UET tag that the account's customer can use, its own and shared ones.

        Source: GetUetTagsByIds, Campaign Management v13.
        """
        return self._campaign_management("UetTags/QueryByIds", _json_body({"TagIds": None})).read_whole(_tags)

    def get_auto_tagging(self) -> bool:
        """Say whether Microsoft adds `msclkid` to the addresses of this account's ads.

        Source: GetAccountProperties, Campaign Management v13.
        """
        body: dict[str, Json] = {"AccountPropertyNames": [AUTO_TAGGING]}
        return self._campaign_management("AccountProperties/Query", _json_body(body)).read_whole(_auto_tagging)

    def turn_auto_tagging_on(self) -> None:
        """Let Microsoft add `msclkid` to the addresses of this account's ads.

        The answer has no elements, so that an empty body is one. Source: SetAccountProperties, Campaign Management v13.
        """
        body: dict[str, Json] = {"AccountProperties": [{"Name": AUTO_TAGGING, "Value": "true"}]}
        try:
            self._campaign_management("AccountProperties/Set", _json_body(body))
        except UnexpectedAnswer as error:
            if error.http_status != 200 or error.body:
                raise

    def get_offline_conversion_report(self, goal_ids: Sequence[str], first: date, last: date) -> list[GoalReport]:
        """Return what was attributed of the goals' uploads on the days from `first` to `last`, both of them included.

        Goals that Microsoft does not know are left out, and so are days that were not asked about. The newest days
        change for hours. Raises ValueError for no goals or more than 20, and for no days or more than 7.
        Source: GetOfflineConversionReportByGoalIds, Campaign Management v13.
        """
        if not 1 <= len(goal_ids) <= REPORT_GOALS or not 1 <= (last - first).days + 1 <= REPORT_DAYS:
            raise ValueError(f"From 1 to {REPORT_GOALS} goals and {REPORT_DAYS} days are due")
        body: dict[str, Json] = {
            "StartDateUtc": f"{first.isoformat()}T00:00:00Z",
            "EndDateUtc": f"{last.isoformat()}T23:59:59Z",
            "GoalIds": list(goal_ids),
            "UploadChannelFilter": "CampaignManagementAPI",
        }
        answer = self._campaign_management("OfflineConversionReport/QueryByGoalIds", _json_body(body))
        return answer.read(lambda members: _goal_reports(members, goal_ids, first, last))

    def apply_offline_conversions(self, conversions: list[OfflineConversion]) -> ApplyResult:
        """Send up to 1,000 conversions; return one result per conversion, in order.

        Microsoft reports refusals only. An accepted conversion need not be attributed: reports tell that later.
        When `outcome_unknown` is set on the error, send the very same again: Microsoft keeps the first.
        Raises ValueError for no conversions or more than 1,000.
        Source: ApplyOfflineConversions, Campaign Management v13.
        """
        return self._apply("OfflineConversions/Apply", wire.conversions_body(conversions), len(conversions))

    def apply_offline_conversion_adjustments(self, adjustments: list[OfflineConversionAdjustment]) -> ApplyResult:
        """Send up to 1,000 restatements and retractions; return one result per adjustment, in order.

        An adjustment whose original Microsoft has not processed yet is accepted here and lost silently: wait first.
        Raises ValueError for no adjustments or more than 1,000.
        Source: ApplyOfflineConversionAdjustments, Campaign Management v13.
        """
        return self._apply("OfflineConversionAdjustments/Apply", wire.adjustments_body(adjustments), len(adjustments))

    # The road

    def _customer_management(self, path: str, body: dict[str, Json]) -> Answer:
        return self._call(f"{self._endpoints.customer}/CustomerManagement/v13/{path}", _json_body(body), {})

    def _campaign_management(self, path: str, body: bytes) -> Answer:
        if not (self._customer_id and self._account_id):
            raise ValueError(f"{path} needs customer_id and account_id")
        account = {"CustomerId": self._customer_id, "CustomerAccountId": self._account_id}
        return self._call(f"{self._endpoints.campaign}/CampaignManagement/v13/{path}", body, account)

    def _apply(self, path: str, body: bytes, rows: int) -> ApplyResult:
        answer = self._campaign_management(path, body)
        items = answer.read(lambda members: item_results(members, rows))
        return ApplyResult(items, answer.tracking_id, answer.http_status, answer.text)

    def _call(self, url: str, body: bytes, account: Mapping[str, str]) -> Answer:
        headers = {
            "Accept": "application/json",
            "Content-Type": "application/json",
            "DeveloperToken": self._developer_token,
            "Api-Revision": API_REVISION,
            "User-Agent": USER_AGENT,
            **account,
        }
        request = self._session.prepare_request(
            requests.Request("POST", url, data=body, headers=headers, auth=self._auth)
        )
        deadline = Deadline.after(self._timeout_seconds)  # after the token is there, which may take a renewal
        answer = self._exchange(request, deadline)
        failure = answer.failure()
        if failure and failure.what_to_do is WhatToDo.RENEW_TOKEN:
            answer = self._exchange(self._auth.renew(request), deadline)
            # Refused again, it stays RENEW_TOKEN: a token just issued is refused, so neither another one nor another
            # sign-in is the cure. Most likely it is our developer token or environment (guides/handle-service-errors).
            failure = answer.failure()
        if failure:
            raise failure
        return answer

    def _exchange(self, request: requests.PreparedRequest, deadline: Deadline) -> Answer:
        response = transport.send(self._session, request, deadline)
        return Answer(
            response.status_code,
            transport.read_body(response, deadline),
            tracking_id=response.headers.get("TrackingId", ""),
            retry_after_seconds=transport.retry_after_seconds(response),
            secrets=(attached_token(request), self._developer_token),
        )


# What each operation sends and reads


def _json_body(body: dict[str, Json]) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()


def _user(answer: Members) -> User:
    person = answer.child("User")
    name = person.child("Name")
    return User(
        user_id=person.required_identifier("Id"),
        user_name=person.text("UserName"),
        customer_id=person.identifier("CustomerId"),
        display_name=f"{name.text('FirstName')} {name.text('LastName')}".strip(),
        email=person.child("ContactInfo").text("Email"),
        roles=tuple(_role(role) for role in answer.children("CustomerRoles")),
    )


def _role(role: Members) -> CustomerRole:
    return CustomerRole(
        customer_id=role.required_identifier("CustomerId"),
        role_id=role.required_integer("RoleId"),
        account_ids=role.identifiers("AccountIds"),
        linked_account_ids=role.identifiers("LinkedAccountIds"),
        link_permission=role.text("CustomerLinkPermission"),
    )


def _search_body(field: str, value: str, page: int) -> dict[str, Json]:
    return {
        "Predicates": [{"Field": field, "Operator": "Equals", "Value": value}],
        "Ordering": [{"Field": "Id", "Order": "Ascending"}],
        "PageInfo": {"Index": page, "Size": PAGE_SIZE},
    }


def _accounts(answer: Members) -> list[Account]:
    answer.require("Accounts")
    return [_account(account) for account in answer.children("Accounts")]


def _account(account: Members) -> Account:
    return Account(
        account_id=account.required_identifier("Id"),
        customer_id=account.required_identifier("ParentCustomerId"),
        number=account.text("Number"),
        name=account.text("Name"),
        currency=account.text("CurrencyCode"),
        time_zone=account.text("TimeZone"),
        life_cycle_status=account.text("AccountLifeCycleStatus"),
        pause_reason=account.integer("PauseReason"),
    )


def _goals(answer: Members) -> list[ConversionGoal]:
    answer.require("ConversionGoals")
    goals = answer.children("ConversionGoals")
    return [_goal(goal) for goal in goals if goal.text("Type") in _OFFLINE_TYPES]


def _goal(goal: Members) -> ConversionGoal:
    revenue = goal.child("Revenue")
    return ConversionGoal(
        goal_id=goal.required_identifier("Id"),
        name=goal.required_text("Name"),
        goal_type=goal.text("Type"),
        status=goal.text("Status"),
        count_type=goal.text("CountType"),
        window_minutes=goal.integer("ConversionWindowInMinutes"),
        scope=goal.text("Scope"),
        category=goal.text("GoalCategory"),
        revenue_type=revenue.text("Type"),
        revenue_value=revenue.money("Value"),
        revenue_currency=revenue.text("CurrencyCode"),
        is_enhanced=goal.boolean("IsEnhancedConversionsEnabled"),
        is_externally_attributed=bool(goal.boolean("IsExternallyAttributed")),
    )


def _new_goal(goal: NewGoal) -> dict[str, Json]:
    return {
        "Type": "OfflineConversion",
        "Name": goal.name,
        "GoalCategory": goal.category,
        "CountType": goal.count_type,
        "ConversionWindowInMinutes": goal.window_minutes,
        "Scope": "Account",
        "Status": "Active",
        # With NoValue, which is the default, a conversion's own value may not count.
        "Revenue": {"Type": "VariableValue", "Value": 0, "CurrencyCode": goal.currency or None},
    }


def _goal_id(answer: Members) -> str:
    ids = answer.identifiers("ConversionGoalIds")
    if len(ids) != 1:
        raise ShapeError("answer.ConversionGoalIds is not one id")
    return ids[0]


def _auto_tagging(answer: Members) -> bool:
    values = {each.text("Name"): each.text("Value").lower() for each in answer.children("AccountProperties")}
    if values.get(AUTO_TAGGING) not in ("true", "false"):
        raise ShapeError(f"answer.AccountProperties has no {AUTO_TAGGING}")
    return values[AUTO_TAGGING] == "true"


def _tags(answer: Members) -> list[UetTag]:
    answer.require("UetTags")
    return [_tag(tag) for tag in answer.children("UetTags")]


def _tag(tag: Members) -> UetTag:
    return UetTag(
        tag_id=tag.required_identifier("Id"),
        name=tag.text("Name"),
        description=tag.text("Description"),
        tracking_status=tag.text("TrackingStatus"),
    )


def _goal_reports(answer: Members, asked: Sequence[str], first: date, last: date) -> list[GoalReport]:
    answer.require("OfflineGoalConversionSummaries")
    reports = [_goal_report(summary, first, last) for summary in answer.found("OfflineGoalConversionSummaries")]
    goal_ids = [report.goal_id for report in reports]
    if len(set(goal_ids)) < len(goal_ids):
        raise ShapeError("answer.OfflineGoalConversionSummaries has a goal twice")
    if not set(goal_ids) <= set(asked):
        raise ShapeError("answer.OfflineGoalConversionSummaries[].GoalId is none of the goals asked about")
    return reports


def _goal_report(summary: Members, first: date, last: date) -> GoalReport:
    days = [_upload_day(daily) for daily in summary.children("DailySummaries")]
    if len({one.day for one in days}) < len(days):
        raise ShapeError("answer.OfflineGoalConversionSummaries[].DailySummaries has a day twice")
    return GoalReport(
        goal_id=summary.required_identifier("GoalId"),
        goal_name=summary.text("ConversionName"),
        days=tuple(one for one in days if first <= one.day <= last),
    )


def _upload_day(daily: Members) -> UploadDay:
    reasons: Counter[str] = Counter()
    for alert in daily.children("Alerts"):
        reasons[alert.text("UnattributedReason") or "Unknown"] += alert.count("Count")
    return UploadDay(daily.day("UploadDate"), daily.count("SuccessCount"), daily.count("UnattributedCount"), reasons)
