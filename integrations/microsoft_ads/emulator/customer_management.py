"""Customer Management: who is signed in, and which accounts that login reaches (cust/getuser, cust/searchaccounts)."""

from collections.abc import Callable

from integrations.microsoft_ads.emulator.access import signed_in_user
from integrations.microsoft_ads.emulator.books import Account, Books, Role, User
from integrations.microsoft_ads.emulator.wire import (
    Json,
    JsonObject,
    Reader,
    Request,
    customer_fault,
    format_moment,
    read_body,
    unbindable,
)

PAGE_LIMIT = 1000  # cust/paging
IN_LIMIT = 10  # cust/predicateoperator
SHORTEST_VALUE = 4  # cust/predicate: a string of 4 characters or more
OPERATORS = {  # cust/searchaccounts
    "UserId": ("Equals",),
    "CustomerId": ("Equals",),
    "AccountId": ("Equals", "In"),
    "AccountNumber": ("Equals", "Contains", "In"),
    "AccountName": ("Equals", "Contains"),
    "AccountLifeCycleStatus": ("Equals",),
}
STATUSES = ("Draft", "Active", "Inactive", "Pause", "Pending", "Suspended")
ADDITIONAL_FIELDS = frozenset(("None", "TaxCertificate", "AccountMode", "CouponClaimInfo", "ParentCustomerNumber"))
ORDERINGS: dict[str, Callable[[Account], tuple[int, str]]] = {
    "Id": lambda account: (int(account.id), ""),
    "Name": lambda account: (0, account.name),
    "Number": lambda account: (0, account.number),
}


def get_user(books: Books, request: Request) -> JsonObject:
    """Answer GetUser: the signed-in user and one role per customer. Another user's id is not answered: 1001."""
    user = signed_in_user(books, request)
    user_id = read_body(request.body).only(("UserId",)).long_id("UserId")
    if user_id not in (None, user.id):
        raise customer_fault(1001, "The user is not authorized to perform this action.", 403)
    roles: list[Json] = [_role_json(role) for role in user.roles]
    return {"User": _user_json(user, books), "CustomerRoles": roles}


def _user_json(user: User, books: Books) -> JsonObject:
    return {
        "Id": user.id,
        "UserName": user.user_name,
        "CustomerId": user.customer_id,
        "Name": {"FirstName": user.first_name, "LastName": user.last_name, "MiddleInitial": None},
        "ContactInfo": {"Email": user.user_name, "EmailFormat": "Html"},
        "JobTitle": None,
        "Lcid": "EnglishUS",
        "LastModifiedTime": format_moment(books.opened_at),
        "UserLifeCycleStatus": user.status,
        "ForwardCompatibilityMap": [],
    }


def _role_json(role: Role) -> JsonObject:
    return {
        "RoleId": role.role_id,
        "CustomerId": role.customer_id,
        "AccountIds": None if role.account_ids is None else list(role.account_ids),
        "LinkedAccountIds": None,
        "CustomerLinkPermission": None,
    }


def search_accounts(books: Books, request: Request) -> JsonObject:
    """Answer SearchAccounts: one page of the accounts that match.

    Size is 0 unless given, so a page without Size is empty.
    """
    user = signed_in_user(books, request)
    reader = read_body(request.body).only(("Predicates", "Ordering", "PageInfo", "ReturnAdditionalFields"))
    matches = _matching(books, user, _predicates(reader))
    _sort(matches, reader)
    index, size = _page(reader)
    fields = reader.flags("ReturnAdditionalFields", ADDITIONAL_FIELDS)
    accounts: list[Json] = [
        _account_json(account, books, fields) for account in matches[index * size : (index + 1) * size]
    ]
    return {"Accounts": accounts}


def _predicates(reader: Reader) -> list[tuple[str, str, str]]:
    predicates = [one for one in reader.objects("Predicates", _predicate) or [] if one]
    if not predicates:
        raise customer_fault(474, "The search needs a predicate.")
    others = [field for field, _, _ in predicates if field != "AccountLifeCycleStatus"]
    if len(others) != 1 or len(predicates) > 2:
        raise unbindable("Predicates", "one predicate is due; AccountLifeCycleStatus may only come with a second one")
    return predicates


def _predicate(reader: Reader) -> tuple[str, str, str]:
    reader.only(("Field", "Operator", "Value"))
    field = reader.text("Field") or ""
    if field not in OPERATORS:
        raise unbindable("Predicates.Field", f"one of {', '.join(OPERATORS)} is due")
    operator = reader.text("Operator") or ""
    if operator not in OPERATORS[field]:
        raise unbindable("Predicates.Operator", f"{field} takes {' or '.join(OPERATORS[field])}")
    value = reader.text("Value") or ""
    if len(value) < SHORTEST_VALUE:
        raise unbindable("Predicates.Value", f"a string of {SHORTEST_VALUE} characters or more is due")
    if operator == "In" and len(value.split(",")) > IN_LIMIT:
        raise unbindable("Predicates.Value", f"In takes at most {IN_LIMIT} values")
    if field == "AccountLifeCycleStatus" and value not in STATUSES:
        raise unbindable("Predicates.Value", f"one of {', '.join(STATUSES)} is due")
    return field, operator, value


def _matching(books: Books, user: User, predicates: list[tuple[str, str, str]]) -> list[Account]:
    reachable = books.accounts_of(user)
    return [account for account in reachable if all(_matches(account, user, *predicate) for predicate in predicates)]


def _matches(account: Account, user: User, field: str, operator: str, value: str) -> bool:
    if field == "UserId":
        return value == user.id
    if field == "AccountLifeCycleStatus":
        # An account paused for its billing (PauseReason 2) is found among the active ones.
        return account.status == value or (
            value == "Active" and account.status == "Pause" and account.pause_reason == 2
        )
    members = {
        "CustomerId": account.customer_id,
        "AccountId": account.id,
        "AccountNumber": account.number,
        "AccountName": account.name,
    }
    text = members[field]
    if operator == "In":
        return text in [one.strip() for one in value.split(",")]
    return value.casefold() in text.casefold() if operator == "Contains" else text == value


def _sort(accounts: list[Account], reader: Reader) -> None:
    orderings = [one for one in reader.objects("Ordering", _ordering) or [] if one]
    if len(orderings) > 1:
        raise unbindable("Ordering", "at most one is allowed")
    for field, descending in orderings:
        accounts.sort(key=ORDERINGS[field], reverse=descending)


def _ordering(reader: Reader) -> tuple[str, bool]:
    reader.only(("Field", "Order"))
    field = reader.choice("Field", ORDERINGS)
    if field is None:
        raise unbindable("Ordering.Field", f"one of {', '.join(ORDERINGS)} is due")
    return field, reader.choice("Order", ("Ascending", "Descending")) == "Descending"


def _page(reader: Reader) -> tuple[int, int]:
    info = reader.object("PageInfo")
    if info is None:
        return 0, 0
    info.only(("Index", "Size"))
    index, size = info.integer("Index") or 0, info.integer("Size") or 0
    if index < 0:
        raise unbindable("PageInfo.Index", "a page number from 0 is due")
    if not 0 <= size <= PAGE_LIMIT:
        raise unbindable("PageInfo.Size", f"a size from 0 to {PAGE_LIMIT} is due")
    return index, size


def _account_json(account: Account, books: Books, fields: set[str]) -> JsonObject:
    answer: JsonObject = {
        "BillToCustomerId": account.customer_id,
        "CurrencyCode": account.currency,
        "AccountFinancialStatus": "ClearFinancialStatus",
        "Id": account.id,
        "Language": account.language,
        "LastModifiedTime": format_moment(books.opened_at),
        "Name": account.name,
        "Number": account.number,
        "ParentCustomerId": account.customer_id,
        "PrimaryUserId": None,
        "AccountLifeCycleStatus": account.status,
        "TimeZone": account.time_zone,
        "PauseReason": account.pause_reason,
        "ForwardCompatibilityMap": [],
        "LinkedAgencies": None,
        "AutoTagType": "Inactive",
    }
    if "AccountMode" in fields:
        answer["AccountMode"] = "Expert"
    if "ParentCustomerNumber" in fields:
        answer["ParentCustomerNumber"] = f"C{account.customer_id[-9:]}"
    return answer
