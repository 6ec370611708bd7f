"""The books a local Microsoft opens with: a shop and its agency, their customers, accounts, goals and tags.

Ids above 2^53 are there because a client that reads ids as numbers loses digits on them.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal

from integrations.microsoft_ads.emulator.books import (
    STANDARD_USER,
    SUPER_ADMIN,
    VIEWER,
    Account,
    Books,
    Customer,
    Goal,
    Role,
    Settings,
    UetTag,
    User,
)

HARBOR = "251093876"
CEDAR = "251093915"
TALLIS = "251094020"
ALDER = "9007199254750011"  # above 2^53
AGENCY = "251090001"

SEARCH_US = "138204417"
SHOPPING_US = "138204422"
BRAND_US = "138204431"
CANADA = "138204460"
WHOLESALE = "138204475"
ALDER_SEARCH = "9007199254740993"  # 2^53 + 1

MARKETER = "ads@harborpine.example"
CANADA_USER = "ca-ads@harborpine.example"
AGENCY_USER = "maya@brightpath.example"
VIEW_ONLY_USER = "intern@harborpine.example"
NO_ACCOUNTS_USER = "new@orchardmill.example"

USERS = (
    User(
        "50017001",
        MARKETER,
        "Sofia",
        "Petrov",
        HARBOR,
        "In-house marketer of Harbor & Pine, its four US accounts",
        (Role(STANDARD_USER, HARBOR, (SEARCH_US, SHOPPING_US, BRAND_US, WHOLESALE)),),
    ),
    User(
        "50017005",
        CANADA_USER,
        "Amélie",
        "Roy",
        HARBOR,
        "Runs Harbor & Pine in Canada",
        (Role(STANDARD_USER, HARBOR, (CANADA,)),),
    ),
    User(
        "50017002",
        AGENCY_USER,
        "Maya",
        "Okafor",
        AGENCY,
        "Brightpath Media, an agency with the accounts of four customers",
        (
            Role(SUPER_ADMIN, AGENCY),
            Role(STANDARD_USER, HARBOR),
            Role(STANDARD_USER, CEDAR),
            Role(STANDARD_USER, TALLIS, ("138206102", "138206110")),
            Role(STANDARD_USER, ALDER),
        ),
    ),
    User(
        "50017003",
        VIEW_ONLY_USER,
        "Lin",
        "Kwan",
        HARBOR,
        "May look at Harbor & Pine, but not upload",
        (Role(VIEWER, HARBOR),),
    ),
    User("50017004", NO_ACCOUNTS_USER, "Daniel", "Amsel", AGENCY, "Signed up today, has no accounts", ()),
)
CUSTOMERS = (
    Customer(HARBOR, "Harbor & Pine Inc."),
    Customer(CEDAR, "Cedar Dental Group"),
    Customer(TALLIS, "Tallis Vinyl Ltd."),
    Customer(ALDER, "Alder Outfitters"),
    Customer(AGENCY, "Brightpath Media"),
)
CENTRAL, EASTERN, LONDON, BERLIN = (
    "CentralTimeUSCanada",
    "EasternTimeUSCanada",
    "GreenwichMeanTimeDublinEdinburghLisbonLondon",
    "AmsterdamBerlinBernRomeStockholmVienna",
)
ACCOUNTS = (
    Account(SEARCH_US, "F118Q2TX", "Search – US", HARBOR, "USD", CENTRAL),
    Account(SHOPPING_US, "F118Q2UA", "Shopping – US", HARBOR, "USD", CENTRAL),
    Account(BRAND_US, "F118Q2V7", "Brand – US", HARBOR, "USD", CENTRAL, auto_tagging=False),
    Account(CANADA, "F119M7KC", "Canada", HARBOR, "CAD", EASTERN, language="French"),
    Account(WHOLESALE, "F119M7LD", "Wholesale", HARBOR, "USD", CENTRAL, status="Pause", pause_reason=1),
    Account("138205301", "F120C4DA", "Cedar Dental – Austin", CEDAR, "USD", CENTRAL),
    Account("138205308", "F120C4DH", "Cedar Dental – Dallas", CEDAR, "USD", CENTRAL, status="Suspended"),
    Account("138206102", "F121T8UK", "Tallis Vinyl – UK", TALLIS, "GBP", LONDON),
    Account("138206110", "F121T8DE", "Tallis Vinyl – DE", TALLIS, "EUR", BERLIN, language="German"),
    Account("138206117", "F121T8JP", "Tallis Vinyl – JP", TALLIS, "JPY", "OsakaSapporoTokyo", language="Japanese"),
    Account(ALDER_SEARCH, "F130A1SE", "Alder – Search", ALDER, "USD", "MountainTimeUSCanada"),
    Account(
        "9007199254741001",
        "F130A1SH",
        "Alder – Shopping",
        ALDER,
        "USD",
        "MountainTimeUSCanada",
        status="Pause",
        pause_reason=2,
    ),
)
TAGS = (
    UetTag("343118260", "Harbor & Pine web", "The shop and its checkout", HARBOR, "Active"),
    UetTag("187009441", "Old blog tag", "No longer on any page", HARBOR, "Inactive"),
    UetTag("343118299", "Landing pages 2027", "Created, not seen yet", HARBOR, "Unverified"),
    UetTag("343120517", "Cedar booking", "Appointment form", CEDAR, "Active", "HealthWellness"),
    UetTag("9007199254740997", "Alder Outfitters", "All country shops", ALDER, "Active"),
)


@dataclass(frozen=True)
class _Plan:
    """A goal of the demo, its age instead of its moment."""

    id: str
    account_id: str
    name: str
    category: str = "Purchase"
    age: timedelta = timedelta(days=200)
    type: str = "OfflineConversion"
    count_type: str = "All"
    revenue: str = "VariableValue"
    value: Decimal | None = None
    window_days: int = 90
    status: str = "Active"
    scope: str = "Account"
    enhanced: bool = False
    external: bool = False
    tag_id: str | None = None


GOALS = (
    _Plan("90010001", SEARCH_US, "Purchase", enhanced=True),
    _Plan("90010002", SEARCH_US, "Qualified Lead", "SubmitLeadForm", revenue="NoValue"),
    _Plan("90010003", SEARCH_US, "Trade enquiry", "RequestQuote", revenue="FixedValue", value=Decimal(40)),
    _Plan(
        "90010004", SEARCH_US, "Account Registration", "Signup", count_type="Unique", revenue="NoValue", enhanced=True
    ),
    _Plan("90010005", SEARCH_US, "Subscription", "Subscribe", window_days=30),
    _Plan("90010006", SEARCH_US, "Phone Sale", age=timedelta(minutes=27)),
    _Plan("90010007", SEARCH_US, "Closed Deal", revenue="FixedValue", value=Decimal(250)),
    _Plan("90010008", SEARCH_US, "Store visit", "Contact", status="Paused", revenue="NoValue"),
    _Plan("90010009", SEARCH_US, "CRM Revenue (shared)", external=True),
    _Plan("90010010", SEARCH_US, "Checkout", type="Event", tag_id="343118260"),
    _Plan("90010011", SEARCH_US, "Thank-you page", type="Url", tag_id="343118260", count_type="Unique"),
    _Plan("90010021", SHOPPING_US, "Shopping Purchase", enhanced=True),
    _Plan("90010022", SHOPPING_US, "shopping purchase", revenue="NoValue"),  # its twin but for case
    _Plan("90010041", CANADA, "Achat en ligne"),
    _Plan("90010042", CANADA, "Lead  Form ", "SubmitLeadForm", revenue="NoValue"),  # two spaces inside, one at the end
    _Plan(
        "90010051", "138205301", "Appointment", "BookAppointment", revenue="NoValue", enhanced=True, scope="Customer"
    ),
    _Plan("90010061", "138206102", "Record sale"),
    _Plan("90010062", "138206110", "Plattenkauf"),
    _Plan("90010063", "138206110", "Newsletter", "Subscribe", revenue="NoValue"),
    _Plan("9007199254740995", ALDER_SEARCH, "Order", enhanced=True, scope="Customer"),
)


def demo_books(now: datetime, settings: Settings | None = None) -> Books:
    """Return books with the demo's users, customers, accounts, goals and tags; goals' ages count back from `now`.

    Source: aware UTC.
    """
    books = Books(opened_at=now, settings=settings or Settings())
    for row in (*USERS, *ACCOUNTS):
        books.place(replace(row))  # rows change, and several books may be open in one process
    books.customers = {customer.id: customer for customer in CUSTOMERS}
    books.tags = {tag.id: tag for tag in TAGS}
    for plan in GOALS:
        books.place(_goal(plan, books.accounts[plan.account_id], now))
    return books


def _goal(plan: _Plan, account: Account, now: datetime) -> Goal:
    return Goal(
        id=plan.id,
        type=plan.type,
        name=plan.name,
        account_id=account.id,
        customer_id=account.customer_id,
        created_at=now - plan.age,
        status=plan.status,
        scope=plan.scope,
        category=plan.category,
        count_type=plan.count_type,
        window_minutes=plan.window_days * 24 * 60,
        revenue_type=plan.revenue,
        revenue_value=plan.value,
        revenue_currency=None if plan.revenue == "NoValue" else account.currency,
        is_enhanced=plan.enhanced,
        is_externally_attributed=plan.external,
        tag_id=plan.tag_id,
    )


def add_accounts(books: Books, user_name: str, count: int) -> None:
    """Give a user `count` more accounts, in a customer of their own; above 1,000 they fill more than one page."""
    user = books.user_named(user_name)
    assert user is not None
    customer = Customer(str(int(max(books.customers, key=int)) + 1), "Many Shops Ltd.")
    books.customers[customer.id] = customer
    books.place(replace(user, roles=(*user.roles, Role(STANDARD_USER, customer.id))))
    for number in range(count):
        account_id = str(140_000_000 + number)
        books.place(Account(account_id, f"G{number:07d}", f"Shop {number + 1:04d}", customer.id, "EUR", BERLIN))
