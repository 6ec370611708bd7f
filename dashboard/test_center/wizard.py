"""The last step of connecting: a test conversion, which may be skipped. The same form, over all of the accounts."""

from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from dashboard.connect.steps import Setup, enter, step_frame
from dashboard.guards import CONNECT, AccountEntry, signed_in, site_for
from dashboard.test_center.forms import SendTestForm
from dashboard.test_center.views import begin_test, form_context, test_context
from forwarding.models import TestConversion


@signed_in
@require_http_methods(["GET", "POST"])
def send_a_test(request: HttpRequest, site_id: UUID) -> HttpResponse:
    """Show the form, or a test and what came of it; POST sends one."""
    setup = enter(request, site_id, needs_accounts=True)
    if isinstance(setup, HttpResponse):
        return setup
    posted = request.POST if request.method == "POST" else None
    form = SendTestForm(posted, setup.site, setup.accounts, timezone.now())
    if form.is_bound and form.is_valid():
        return redirect(_address(setup, begin_test(request, form)))
    test = _asked_for(request, setup)
    ctx = {
        **step_frame(request, setup, "test"),
        **form_context(form),
        **_shown(request, setup, test),
        "is_in_wizard": True,
        "form_href": setup.url("test"),
    }
    return render(request, "dashboard/connect/test.html", ctx, status=422 if form.errors else 200)


def _address(setup: Setup, test: TestConversion) -> str:
    return f"{setup.url('test')}&test={test.public_id}"


def _shown(request: HttpRequest, setup: Setup, test: TestConversion | None) -> dict[str, object]:
    if test is None:
        return {"test": None}
    _, role = site_for(request, setup.site.public_id, *CONNECT)
    context = test_context(test, AccountEntry(test.account, setup.site, role))
    return {**context, "account": test.account, "again_href": _address(setup, test)}


def _asked_for(request: HttpRequest, setup: Setup) -> TestConversion | None:
    asked = request.GET.get("test", "")
    if not asked or request.method == "POST":
        return None
    tests = TestConversion.objects.select_related("event", "delivery__goal", "delivery__last_upload")
    try:
        test = tests.filter(account__in=setup.accounts, public_id=UUID(asked)).first()
    except ValueError as error:
        raise Http404 from error
    if test is None:
        raise Http404
    test.account = next(account for account in setup.accounts if account.pk == test.account_id)
    return test
