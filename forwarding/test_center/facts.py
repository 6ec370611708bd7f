"""Asks Microsoft, one thing after the other, what the doctor (doctor.py) judges."""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta

from django.conf import settings

from forwarding.errors import account_stop, words_of_failed_call
from forwarding.goal_changes import read_goals
from forwarding.models import Delivery
from forwarding.sending.claims import LEFT_ALONE
from forwarding.test_center import doctor
from forwarding.test_center.doctor import Check, State
from integrations.connecting import role_ids
from integrations.microsoft import client_for
from integrations.microsoft_ads import shapes
from integrations.microsoft_ads.errors import MicrosoftAdsError
from integrations.models import AdAccount, ConversionGoal


class Examination:
    """The checks of one conversion that is to be sent: iterate, and each is made when it is asked for.

    The goals are read anew on the way, so what waits follows a goal that was renamed. `delivery` is the draft of the
    conversion, with its account, its sign-in and its goal.
    """

    def __init__(self, delivery: Delivery, now: datetime) -> None:
        assert delivery.goal is not None
        self.delivery = delivery
        self.account: AdAccount = delivery.account
        self.goal: ConversionGoal = delivery.goal
        self.now = now
        self.person: shapes.User | None = None
        self.found: shapes.Account | None = None

    def __iter__(self) -> Iterator[Check]:
        """Yield the checks in their order; a bad one is the last."""
        for title, look in self._looks():
            try:
                check = look()
            except MicrosoftAdsError as error:
                check = _not_answered(title, error)
            yield check
            if check.state is State.BAD:
                return

    def _looks(self) -> tuple[tuple[str, Callable[[], Check]], ...]:
        return (
            (doctor.SIGNED_IN, self._sign_in),
            (doctor.ACCOUNT, self._account),
            (doctor.ROLE, self._role),
            (doctor.GOAL, self._goal),
            (doctor.GOAL_AGE, lambda: doctor.goal_is_old_enough(self._described(), self.now)),
            (doctor.GOAL_SETTINGS, self._goal_settings),
            (doctor.ENHANCED, self._hashes),
            (doctor.TAGGING, self._tagging),
            (doctor.TAG, self._tag),
            (doctor.CLICK, self._click),
        )

    def _sign_in(self) -> Check:
        if not self.account.connection.is_usable:
            stop = account_stop(self.account)
            assert stop is not None
            return doctor.signed_in("", stop.title, stop.fix, can_reconnect=stop.page == "integrations")
        try:
            self.person = client_for(self.account).get_user()
        except MicrosoftAdsError as error:
            words = words_of_failed_call(error)
            fix = " ".join(part for part in (words.cause, words.fix) if part)
            return doctor.signed_in("", words.title, fix, can_reconnect=words.page == "integrations")
        return doctor.signed_in(self.person.user_name or str(self.account.connection))

    def _account(self) -> Check:
        account = self.account
        is_left_alone = account.hold_reason in LEFT_ALONE and account.held_until and account.held_until > self.now
        is_paused = account.paused_at is not None
        if not (is_paused or is_left_alone):
            self.found = client_for(account).find_account(account.account_id)
        status = self.found.life_cycle_status if self.found else None
        until = account.held_until if is_left_alone else None
        return doctor.takes_conversions(status, is_paused_here=is_paused, left_alone_until=until)

    def _role(self) -> Check:
        assert self.person is not None
        assert self.found is not None
        return doctor.may_upload(role_ids(self.person, self.found))

    def _goal(self) -> Check:
        read_goals(self.account, self.now)
        self.goal.refresh_from_db()
        listed = self.account.goals.filter(gone_at__isnull=True).values_list("name", flat=True)
        return doctor.goal_exists(self._described(), listed)

    def _goal_settings(self) -> Check:
        return doctor.goal_counts(self._described(), has_value=self.delivery.value is not None)

    def _hashes(self) -> Check:
        return doctor.takes_hashes(self._described(), sends_hashes=self.account.enhanced_conversions)

    def _tagging(self) -> Check:
        try:
            is_on = client_for(self.account).get_auto_tagging()
        except MicrosoftAdsError:
            return doctor.auto_tagging(None)
        AdAccount.objects.filter(pk=self.account.pk).exclude(auto_tagging=is_on).update(auto_tagging=is_on)
        return doctor.auto_tagging(is_on)

    def _tag(self) -> Check:
        tag_id = self.account.uet_tag_id
        try:
            tags = client_for(self.account).get_uet_tags() if tag_id else []
        except MicrosoftAdsError:
            return doctor.uet_tag(tag_id, None)
        return doctor.uet_tag(tag_id, tags)

    def _click(self) -> Check:
        short = f"{self.delivery.msclkid[:6]}…{self.delivery.msclkid[-5:]}"
        settle = timedelta(seconds=settings.CLICK_SETTLE_SECONDS)
        return doctor.click(short, self.delivery.clicked_at, self._described(), settle, self.now)

    def _described(self) -> doctor.Goal:
        goal = self.goal
        return doctor.Goal(
            name=goal.name,
            status=goal.status,
            is_listed=goal.gone_at is None,
            goal_type=goal.goal_type,
            count_type=goal.count_type,
            window_minutes=goal.window_minutes,
            revenue_type=goal.revenue_type,
            is_enhanced=goal.is_enhanced,
            takes_from=goal.settles_at(timedelta(seconds=settings.GOAL_SETTLE_SECONDS)),
        )


def _not_answered(title: str, error: MicrosoftAdsError) -> Check:
    words = words_of_failed_call(error)
    fix = " ".join(part for part in (words.cause, words.fix) if part)
    return Check(title, State.BAD, words.title, fix, is_sent=False)
