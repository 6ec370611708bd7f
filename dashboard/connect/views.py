"""The steps after a Microsoft sign-in, but for the goals: accounts, UET tag, enhanced conversions, done.

Each is a POST and a redirect.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from uuid import UUID

from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods

from dashboard import wording
from dashboard.connect.integrations import may_go_to_microsoft
from dashboard.connect.steps import Setup, enter, step_frame
from dashboard.event_counts import coverage
from dashboard.frame import account_url
from dashboard.guards import person, signed_in
from dashboard.health import account_health, with_health
from dashboard.test_center.results import MICROSOFT_ADVERTISING
from dashboard.trouble import Trouble, in_words
from integrations.account_settings import change_settings
from integrations.connecting import AccountsRefused, ReachableAccount, add_accounts, reachable_accounts
from integrations.goals import check_uet_tag, tag_note, uet_tags
from integrations.mapping import OFFERED_EVENTS
from integrations.microsoft_ads.errors import MicrosoftAdsError
from integrations.microsoft_ads.shapes import UetTag
from integrations.models import AdAccount, ConversionGoal

OTHER = "other"
# Microsoft's word for an account's state, where it is not one that a person would use.
STATE_WORDS = {"Pause": "Paused"}


# Accounts


@dataclass(frozen=True)
class AccountChoice:
    """An account that can be chosen, and what the site has of it already."""

    found: ReachableAccount
    is_connected: bool
    is_chosen: bool
    elsewhere: str
    goal_count: int

    @property
    def state(self) -> str:
        """Return the account's state in a word; "" for one that runs."""
        status = self.found.life_cycle_status
        return "" if status == "Active" else STATE_WORDS.get(status, status)

    @property
    def can_be_chosen(self) -> bool:
        """Say whether its box can be ticked."""
        return self.found.can_upload and not self.is_connected


@signed_in
@require_http_methods(["GET", "POST"])
def accounts(request: HttpRequest, site_id: UUID) -> HttpResponse:
    """Choose accounts among those that the sign-in reaches now."""
    setup = enter(request, site_id)
    if isinstance(setup, HttpResponse):
        return setup
    chosen = request.POST.getlist("account")
    error = ""
    if request.method == "POST":
        new = [one for one in chosen if one not in {account.account_id for account in setup.accounts}]
        try:
            added = add_accounts(setup.connection, new, person(request), timezone.now()) if new else []
        except AccountsRefused as refusal:
            error = str(refusal)
        except MicrosoftAdsError as failure:
            error = " ".join(in_words(failure))
        else:
            if added or setup.accounts:
                return redirect(setup.url("uet"))
            error = "Choose at least one account."
    customers, trouble = _reachable_by_customer(setup, chosen)
    choosable = (choice for choices in customers.values() for choice in choices if choice.can_be_chosen)
    ctx = {
        **step_frame(request, setup, "accounts"),
        "customers": customers,
        "trouble": trouble,
        "error": error,
        "focus": next(choosable, None) if error else None,
    }
    response = render(request, "dashboard/connect/accounts.html", ctx, status=422 if error else 200)
    return may_go_to_microsoft(response)


def _reachable_by_customer(
    setup: Setup, chosen: Iterable[str]
) -> tuple[dict[str, list[AccountChoice]], Trouble | None]:
    try:
        found = reachable_accounts(setup.connection)
    except MicrosoftAdsError as error:
        return {}, in_words(error)
    known = {
        account.account_id: account
        for account in setup.site.ad_accounts.filter(is_active=True).select_related("connection")
    }
    goal_counts = dict(
        ConversionGoal.objects.filter(account__in=known.values(), gone_at__isnull=True)
        .values_list("account__account_id")
        .annotate(count=Count("pk"))
    )
    picked, customers = set(chosen), defaultdict(list)
    for account in found:
        ours = known.get(account.account_id)
        is_connected = ours is not None and ours.connection_id == setup.connection.pk
        elsewhere = str(ours.connection) if ours is not None and not is_connected else ""
        customers[account.customer_id].append(
            AccountChoice(
                account,
                is_connected,
                is_connected or account.account_id in picked,
                elsewhere,
                goal_counts.get(account.account_id, 0),
            )
        )
    return dict(customers), None


# UET tag


@dataclass(frozen=True)
class TagChoice:
    """An account's tags to choose from, what is chosen, and what is wrong with it."""

    account: AdAccount
    tags: list[tuple[UetTag, str]]
    chosen: str
    other: str
    error: str
    trouble: Trouble | None


@signed_in
@require_http_methods(["GET", "POST"])
def uet(request: HttpRequest, site_id: UUID) -> HttpResponse:
    """Link each account's UET tag, or leave it unlinked."""
    setup = enter(request, site_id, needs_accounts=True)
    if isinstance(setup, HttpResponse):
        return setup
    errors: dict[str, str] = {}
    if request.method == "POST":
        wanted = {account.pk: _posted_tag(request, account) for account in setup.accounts}
        errors = {account.account_id: _tag_error(account, wanted[account.pk]) for account in setup.accounts}
        if not any(errors.values()):
            for account in setup.accounts:
                change_settings(account, {"uet_tag_id": wanted[account.pk]}, person(request), timezone.now())
            return redirect(setup.url("goals"))
    ctx = {
        **step_frame(request, setup, "uet"),
        "choices": _tag_choices(request, setup, errors),
        "focus": next((account_id for account_id, error in errors.items() if error), ""),
    }
    return render(request, "dashboard/connect/uet.html", ctx, status=422 if errors else 200)


def _posted_tag(request: HttpRequest, account: AdAccount) -> str:
    chosen = request.POST.get(f"tag-{account.account_id}", "")
    return (request.POST.get(f"other-{account.account_id}", "") if chosen == OTHER else chosen).strip()


def _tag_error(account: AdAccount, tag_id: str) -> str:
    if tag_id == account.uet_tag_id:
        return ""
    try:
        return check_uet_tag(account, tag_id)
    except MicrosoftAdsError as error:
        return f"The tag could not be checked. {' '.join(in_words(error))}"


def _tag_choices(request: HttpRequest, setup: Setup, errors: Mapping[str, str]) -> list[TagChoice]:
    # Tags belong to the customer: one call serves all of its accounts.
    by_customer: dict[str, list[UetTag] | Trouble] = {}
    choices = []
    for account in setup.accounts:
        if account.customer_id not in by_customer:
            by_customer[account.customer_id] = _tags_of(account)
        found = by_customer[account.customer_id]
        trouble = found if isinstance(found, Trouble) else None
        tags = [] if isinstance(found, Trouble) else found
        wanted = _posted_tag(request, account) if request.method == "POST" else _likely_tag(account, tags)
        is_listed = any(tag.tag_id == wanted for tag in tags)
        is_other = bool(wanted) and not is_listed
        if request.method == "POST" and request.POST.get(f"tag-{account.account_id}") == OTHER:
            is_other = True
        choices.append(
            TagChoice(
                account,
                [(tag, tag_note(tag)) for tag in tags],
                OTHER if is_other else wanted,
                wanted if is_other else "",
                errors.get(account.account_id, ""),
                trouble,
            )
        )
    return choices


def _tags_of(account: AdAccount) -> list[UetTag] | Trouble:
    try:
        return uet_tags(account)
    except MicrosoftAdsError as error:
        return in_words(error)


def _likely_tag(account: AdAccount, tags: list[UetTag]) -> str:
    if account.uet_tag_id:
        return account.uet_tag_id
    seen = [tag.tag_id for tag in tags if not tag_note(tag)]
    return seen[0] if len(seen) == 1 else ""


# Enhanced conversions, and done


@signed_in
@require_http_methods(["GET", "POST"])
def enhanced(request: HttpRequest, site_id: UUID) -> HttpResponse:
    """Switch hashed customer data on or off, per account."""
    setup = enter(request, site_id, needs_accounts=True)
    if isinstance(setup, HttpResponse):
        return setup
    if request.method == "POST":
        for account in setup.accounts:
            is_on = f"enhanced-{account.account_id}" in request.POST
            change_settings(account, {"enhanced_conversions": is_on}, person(request), timezone.now())
        return redirect(setup.url("test"))
    names = {mapping.event_name for account in setup.accounts for mapping in account.mappings.all()}
    plain = [account.name for account in setup.accounts if _has_plain_goals_only(account)]
    ctx = {
        **step_frame(request, setup, "enhanced"),
        "coverage": coverage(setup.site, names or set(OFFERED_EVENTS), timezone.now()),
        "plain_named": wording.listed(plain),
        "microsoft_advertising": MICROSOFT_ADVERTISING,
    }
    return render(request, "dashboard/connect/enhanced.html", ctx)


def _has_plain_goals_only(account: AdAccount) -> bool:
    mapped = [mapping.goal for mapping in account.mappings.select_related("goal")]
    return bool(mapped) and all(goal.is_enhanced is False for goal in mapped)


@signed_in
@require_GET
def done(request: HttpRequest, site_id: UUID) -> HttpResponse:
    """Say what is set up, and what is not."""
    setup = enter(request, site_id, needs_accounts=True)
    if isinstance(setup, HttpResponse):
        return setup
    mapped = [(account, account.mappings.filter(is_active=True).count()) for account in setup.accounts]
    healths = map(account_health, with_health(setup.connection.ad_accounts.all(), timezone.now()))
    first = setup.accounts[0]
    ctx = {
        **step_frame(request, setup, "done"),
        "live_named": wording.listed([account.name for account, count in mapped if count]),
        "live_count": sum(bool(count) for _, count in mapped),
        "mapped": [(account, count, account_url(setup.site, account, "mapping")) for account, count in mapped],
        "enhanced_named": wording.listed([account.name for account in setup.accounts if account.enhanced_conversions]),
        "tag_named": wording.listed([account.name for account in setup.accounts if account.uet_tag_id]),
        "logs_url": account_url(setup.site, first, "logs"),
        "needy": [health for health in healths if health.word not in ("Healthy", "Setting up")],
    }
    return render(request, "dashboard/connect/done.html", ctx)
