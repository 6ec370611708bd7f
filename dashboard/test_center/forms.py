"""The form of a test conversion: which goal, worth what, for which click."""

import uuid
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from django import forms
from django.http import QueryDict

from dashboard.money_field import money_field
from dashboard.test_center.clicks import LatestClick, latest_click, read_click_id
from dashboard.test_center.targets import Target, most_used, targets_of
from forwarding.models import TestConversion
from forwarding.test_center.sending import GOAL_PROPERTY, Wish
from ingest.models import Site
from integrations.models import AdAccount, ValueRule

LATEST, PASTED = "latest", "pasted"
# What a test of a goal is called to which no event is mapped.
UNMAPPED_EVENT = "test"
DEFAULT_VALUE = Decimal("1.00")
MAX_PASTED_CHARS = 2000


class SendTestForm(forms.Form):
    """What a person fills in. `token` is minted with the form, so that a double click sends one.

    It offers the goal that is used most; `again` is a test that is looked at, whose goal it offers instead.
    """

    target = forms.ChoiceField()
    value = money_field(required=False)
    currency = forms.ChoiceField(required=False)
    click = forms.ChoiceField(choices=[(LATEST, ""), (PASTED, "")], required=False)
    pasted = forms.CharField(required=False, max_length=MAX_PASTED_CHARS)
    retract = forms.BooleanField(required=False)
    token = forms.UUIDField()

    def __init__(
        self,
        data: QueryDict | None,
        site: Site,
        accounts: Sequence[AdAccount],
        now: datetime,
        again: TestConversion | None = None,
    ) -> None:
        self.targets = targets_of(accounts)
        self.latest: LatestClick | None = latest_click(site, now)
        offered = self._of_test(again) or most_used(self.targets, now)
        super().__init__(data, initial=self._initial(site, offered))
        self._choices_of("target").choices = [(target.key, target.label) for target in self.targets]
        codes = [account.currency for account in accounts] + [site.currency]
        codes += [target.goal.revenue_currency for target in self.targets]
        self.currencies = list(dict.fromkeys(code for code in codes if code))
        self._choices_of("currency").choices = [(code, code) for code in self.currencies]

    def _choices_of(self, name: str) -> forms.ChoiceField:
        field = self.fields[name]
        assert isinstance(field, forms.ChoiceField)
        return field

    def _of_test(self, test: TestConversion | None) -> Target | None:
        """Return what a test was sent to: who looks at one may want to send it again."""
        if test is None or test.event is None:
            return None
        goal_id, name = test.event.properties.get(GOAL_PROPERTY), test.event.name
        same = [one for one in self.targets if one.account.pk == test.account_id and one.goal.goal_id == goal_id]
        return next((one for one in same if one.event_name == name), next(iter(same), None))

    def _initial(self, site: Site, offered: Target | None) -> dict[str, object]:
        value: Decimal | None = DEFAULT_VALUE
        if offered is not None and offered.mapping is not None:
            fixed = {ValueRule.FIXED: offered.mapping.fixed_value, ValueRule.NONE: None}
            value = fixed.get(ValueRule(offered.mapping.value_rule), value)
        return {
            "target": offered.key if offered else "",
            "value": value,
            "currency": (offered.account.currency if offered else "") or site.currency,
            "click": LATEST if self.latest else PASTED,
            "retract": True,
            "token": uuid.uuid4(),
        }

    def clean(self) -> dict[str, object]:
        """Find the click id that is meant: what was pasted goes before the latest."""
        cleaned = super().clean() or {}
        pasted = str(cleaned.get("pasted") or "")
        if pasted.strip():
            try:
                cleaned["msclkid"] = read_click_id(pasted)
            except ValueError as error:
                self.add_error("pasted", str(error))
        elif self.latest is not None and cleaned.get("click") != PASTED:
            cleaned["msclkid"] = self.latest.msclkid
        else:
            self.add_error("pasted", "Paste a click ID, or the address of the page that your ad opened.")
        return cleaned

    @property
    def account(self) -> AdAccount:
        """Return the account of a valid form."""
        return self.chosen().account

    @property
    def wish(self) -> Wish:
        """Return what a valid form asks for."""
        target = self.chosen()
        cleaned: dict[str, Any] = self.cleaned_data
        return Wish(
            goal=target.goal,
            event_name=target.event_name or UNMAPPED_EVENT,
            value=cleaned["value"],
            currency=cleaned["currency"] or target.account.currency,
            msclkid=cleaned["msclkid"],
            retract_after=cleaned["retract"],
        )

    def chosen(self) -> Target:
        """Return the goal that a valid form is for."""
        by_key = {each.key: each for each in self.targets}
        return by_key[str(self.cleaned_data["target"])]
