"""The staff's hands on deliveries: admin actions that show what would come of them before they ask to confirm."""

from collections.abc import Callable
from decimal import Decimal
from typing import TYPE_CHECKING

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.auth.models import User
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone

from forwarding.hands import actions, words
from forwarding.hands.rules import Action
from forwarding.models import Delivery
from ingest.models import VALUE_DECIMALS, VALUE_DIGITS
from ingest.refusals import MAX_VALUE

if TYPE_CHECKING:
    DeliveryModelAdmin = admin.ModelAdmin[Delivery]
else:
    DeliveryModelAdmin = admin.ModelAdmin

CONFIRMED = "confirmed"
# How many a person was shown: what they confirm is that many.
SHOWN = "shown"
# What the changelist reads of a form to know which rows are meant.
_SAID_AGAIN = ("action", "select_across", ACTION_CHECKBOX_NAME)
_AdminAction = Callable[[DeliveryModelAdmin, HttpRequest, QuerySet[Delivery]], HttpResponse | None]


class ConfirmForm(forms.Form):
    """What is asked before an action: a restatement's total, a retraction's word, nothing of the others."""

    value = forms.DecimalField(
        label="New total of each conversion, in its own currency",
        min_value=0,
        max_value=MAX_VALUE,
        max_digits=VALUE_DIGITS,
        decimal_places=VALUE_DECIMALS,
    )
    word = forms.RegexField("^retract$", label="A retraction cannot be undone. Type retract to confirm", strip=True)

    def __init__(self, action: Action, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]  # a form's own arguments, whatever they are
        wanted = {Action.RESTATE: "value", Action.RETRACT: "word"}.get(action)
        for name in list(self.fields):
            if name != wanted:
                del self.fields[name]
        for field in self.fields.values():
            field.widget.attrs["autocomplete"] = "off"


class HandsAdmin(DeliveryModelAdmin):
    """Deliveries with everything that may be done to them by hand, for staff who may change them."""

    def has_hand_permission(self, request: HttpRequest) -> bool:
        """Say whether the person may do more than read; the rows' own columns nobody changes."""
        return request.user.has_perm("forwarding.change_delivery")


def _action(action: Action) -> _AdminAction:
    @admin.action(permissions=["hand"], description=f"{action.label} selected %(verbose_name_plural)s")
    def do(
        model_admin: DeliveryModelAdmin, request: HttpRequest, deliveries: QuerySet[Delivery]
    ) -> HttpResponse | None:
        return _ask_or_do(action, model_admin, request, deliveries)

    do.__name__ = f"{action.value}_deliveries"  # how the admin tells actions apart
    return do


ACTIONS = [_action(action) for action in Action]


def _ask_or_do(
    action: Action, model_admin: DeliveryModelAdmin, request: HttpRequest, deliveries: QuerySet[Delivery]
) -> HttpResponse | None:
    form = ConfirmForm(action, request.POST if CONFIRMED in request.POST else None)
    if not form.is_valid():
        return _ask(action, model_admin, request, deliveries, form)
    now_able = actions.preview(action, deliveries, timezone.now()).able
    if request.POST.get(SHOWN) != str(now_able):
        said = f"The list has changed: {now_able:,} now. Nothing was done yet."
        model_admin.message_user(request, said, messages.WARNING)
        return _ask(action, model_admin, request, deliveries, form)
    assert isinstance(request.user, User)
    value: Decimal | None = form.cleaned_data.get("value")
    tally = actions.apply(action, deliveries, request.user, timezone.now(), value, scope=_scope(request), by_staff=True)
    level = messages.SUCCESS if tally.able else messages.WARNING
    model_admin.message_user(request, f"{words.outcome(tally)}.", level)
    return None


def _ask(
    action: Action,
    model_admin: DeliveryModelAdmin,
    request: HttpRequest,
    deliveries: QuerySet[Delivery],
    form: ConfirmForm,
) -> TemplateResponse:
    tally = actions.preview(action, deliveries, timezone.now())
    context = {
        **model_admin.admin_site.each_context(request),
        "opts": model_admin.opts,
        "title": f"{action.label} {tally.looked_at:,} {'delivery' if tally.looked_at == 1 else 'deliveries'}?",
        "action": action,
        "tally": tally,
        "lines": words.forecast(tally, _sums),
        "form": form,
        "again": [(name, said) for name in _SAID_AGAIN for said in request.POST.getlist(name)],
        "confirmed": CONFIRMED,
        "shown": SHOWN,
    }
    return TemplateResponse(request, "admin/forwarding/delivery/hands.html", context)


def _scope(request: HttpRequest) -> str:
    """Return which rows were meant, for the audit log: chosen one by one, or all of a filter."""
    if request.POST.get("select_across") == "1":
        return f"staff list ?{request.GET.urlencode()}"
    return "chosen in the staff list"


def _sums(values: dict[str, Decimal]) -> str:
    return " + ".join(f"{value:,.2f} {currency}" for currency, value in sorted(values.items()))
