"""What a person may set on an account: whether it forwards, its UET tag, what goes along, what is corrected."""

import logging
from collections.abc import Mapping
from datetime import datetime

from django.contrib.auth.models import User
from django.db import transaction

from ingest.audit import record
from ingest.seen import refuse_moved
from integrations.microsoft import client_for
from integrations.models import AdAccount
from integrations.signals import accounts_freed

SETTINGS = ("uet_tag_id", "enhanced_conversions", "restates_from_backend")

logger = logging.getLogger(__name__)


def pause(account: AdAccount, actor: User, now: datetime) -> None:
    """Switch forwarding off. Events are planned as before and their conversions wait; a call on its way is finished."""
    if account.paused_at is not None:
        return
    account.paused_at = now
    with transaction.atomic():
        account.save(update_fields=["paused_at"])
        _note(account, "account.pause", actor, now, {})


def resume(account: AdAccount, actor: User, now: datetime) -> None:
    """Switch forwarding on again. What waited goes out with a sweep that is asked for now."""
    if account.paused_at is None:
        return
    account.paused_at = account.held_until = None
    account.hold_reason = ""
    with transaction.atomic():
        account.save(update_fields=["paused_at", "hold_reason", "held_until"])
        _note(account, "account.resume", actor, now, {})
        accounts_freed.send(AdAccount, account_ids=[account.pk])


def change_settings(
    account: AdAccount, changes: Mapping[str, str | bool], actor: User, now: datetime, seen: str = ""
) -> bool:
    """Save some of `SETTINGS`; return whether any is new. `check_uet_tag` has found nothing wrong with a tag id.

    Enhanced conversions count for events planned from now on: what was planned before keeps its hashes. With `seen`,
    what `seen_of` said when the form was drawn, nothing that somebody else set since then is overwritten:
    ChangedMeanwhileError is raised instead.
    """
    with transaction.atomic():
        locked = AdAccount.objects.select_for_update(no_key=True).get(pk=account.pk)
        refuse_moved(locked, SETTINGS, changes, seen)
        new = {name: value for name, value in changes.items() if getattr(locked, name) != value}
        if not new:
            return False
        details = {name: [getattr(locked, name), value] for name, value in new.items()}
        for name, value in new.items():
            setattr(account, name, value)
        account.save(update_fields=list(new))
        _note(account, "account.settings", actor, now, details)
    return True


def turn_auto_tagging_on(account: AdAccount, actor: User, now: datetime) -> None:
    """Let Microsoft add `msclkid` to the addresses of the account's ads, and read back that it does.

    Raises MicrosoftAdsError; `account.auto_tagging` is what was last read.
    """
    client = client_for(account)
    client.turn_auto_tagging_on()
    before, account.auto_tagging = account.auto_tagging, client.get_auto_tagging()
    with transaction.atomic():
        account.save(update_fields=["auto_tagging"])
        _note(account, "account.auto_tagging", actor, now, {"auto_tagging": [before, account.auto_tagging]})


def _note(account: AdAccount, action: str, actor: User, now: datetime, details: Mapping[str, object]) -> None:
    site = account.site
    record(actor, action, organisation=site.organisation, site=site, target=str(account), details=details, now=now)
    logger.info("Account %s: user %s, %s", account.account_id, actor.pk, action)
