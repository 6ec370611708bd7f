"""Who is calling and for which account: the checks of the request headers that come before every operation.

Sources: cm/request-header-rest, cust/request-header-rest, guides/operation-error-codes, guides/account-hierarchy-
permissions.
"""

import hmac

from integrations.microsoft_ads.emulator.books import DEVELOPER_TOKEN, VIEWER, Account, Books, User
from integrations.microsoft_ads.emulator.wire import INT64, ApiError, Request, campaign_fault, generic_fault

API_REVISIONS = frozenset(
    {"2026-08-17", "2026-09-28", "2026-10-12"}
)  # cm/api-versioning: only published dates are valid


def signed_in_user(books: Books, request: Request) -> User:
    """Return the user of the bearer token. Raises ApiError 105, 109 or 116."""
    check_headers(request)
    scheme, _, value = request.header("Authorization").partition(" ")
    grant = books.grants.get(value.strip())
    if scheme.lower() != "bearer" or grant is None or grant.kind != "access" or grant.revoked_at is not None:
        raise invalid_credentials("InvalidAccessToken")
    if grant.expires_at <= request.received_at:
        raise generic_fault(109, "AuthenticationTokenExpired", "The authentication token has expired.", status=401)
    user = books.users.get(grant.user_id)
    if user is None:
        raise invalid_credentials("UserNotFound")
    if user.status != "Active":
        raise invalid_credentials("AccountInactive")
    request.user_id = user.id
    return user


def check_headers(request: Request) -> None:
    """Raise ApiError 116 for a missing header, 105 for a wrong developer token, 201 for a wrong type or revision."""
    for name in ("Authorization", "DeveloperToken"):
        if not request.header(name):
            raise generic_fault(116, "RequestMissingHeaders", f"The request header {name} is missing.", detail=name)
    if not hmac.compare_digest(request.header("DeveloperToken").encode(), DEVELOPER_TOKEN.encode()):
        raise invalid_credentials("InvalidDeveloperToken")
    if not request.header("Content-Type").lower().startswith("application/json"):
        raise generic_fault(
            201, "ApiInputValidationError", "Content-Type must be application/json.", detail="Content-Type"
        )
    revision = request.header("Api-Revision")
    if revision and revision not in API_REVISIONS:
        raise generic_fault(
            201, "ApiInputValidationError", "Api-Revision is not a published date.", detail="Api-Revision"
        )


def invalid_credentials(detail: str) -> ApiError:
    message = "Authentication failed. Either supplied credentials are invalid or the account is inactive."
    return generic_fault(105, "InvalidCredentials", message, status=401, detail=detail)


def not_authorized(detail: str) -> ApiError:
    return generic_fault(
        106, "UserIsNotAuthorized", "The user is not authorized to perform this action.", status=403, detail=detail
    )


def account_of(books: Books, request: Request, user: User, *, writes: bool) -> Account:
    """Return the account the headers name, once the user may act on it.

    CustomerId is the account's parent customer (guides/get-started). Raises ApiError 1029, 1030, 1102, 1490, 106 or
    1008.
    """
    customer_id, account_id = request.header("CustomerId"), request.header("CustomerAccountId")
    if not customer_id:
        raise campaign_fault(
            1029, "CampaignServiceCustomerIdHasToBeSpecified", "The request header CustomerId is missing."
        )
    if not account_id:
        raise campaign_fault(
            1030, "CampaignServiceAccountIdHasToBeSpecified", "The request header CustomerAccountId is missing."
        )
    if not INT64.fullmatch(customer_id) or customer_id not in books.customers:
        raise campaign_fault(
            1490, "CampaignServiceInvalidCustomerId", "The CustomerId of the request header is not valid."
        )
    if not INT64.fullmatch(account_id) or account_id not in books.accounts:
        raise campaign_fault(
            1102, "CampaignServiceInvalidAccountId", "The CustomerAccountId of the request header is not valid."
        )
    account = books.accounts[account_id]
    if account.customer_id != customer_id:
        raise not_authorized("CustomerId is not the account's ParentCustomerId.")
    role = books.role_in(user, account)
    if role is None:
        raise not_authorized("The user has no access to the account.")
    if writes and role.role_id == VIEWER:
        raise not_authorized("The user may view this account but not change it.")
    if writes and account.status != "Active":
        message = f"The account status {account.status} does not allow this operation."
        raise campaign_fault(1008, "CampaignServiceInvalidAccountStatus", message)
    return account
