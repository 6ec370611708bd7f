"""What a person may set on an account: whether it forwards, its UET tag, and whether customer data goes along."""

import logging
from datetime import datetime

from django.contrib.auth.models import User

from integrations.models import AdAccount

logger = logging.getLogger(__name__)


def pause(account: AdAccount, actor: User, now: datetime) -> None:
    """Switch forwarding off. Events are planned as before and their conversions wait; a call on its way is finished."""
    if account.paused_at is not None:
        return
    account.paused_at = now
    account.save(update_fields=["paused_at"])
    logger.info("Account %s: user %s paused forwarding", account.account_id, actor.pk)


def resume(account: AdAccount, actor: User) -> None:
    """Switch forwarding on again. What waited goes out with the next sweep."""
    if account.paused_at is None:
        return
    account.paused_at = account.held_until = None
    account.hold_reason = ""
    account.save(update_fields=["paused_at", "hold_reason", "held_until"])
    logger.info("Account %s: user %s resumed forwarding", account.account_id, actor.pk)


def change_settings(account: AdAccount, *, uet_tag_id: str, enhanced_conversions: bool, actor: User) -> bool:
    """Save a tag id that `goals.check_uet_tag` found nothing wrong with, and the switch; return whether either is new.

    The switch counts for events planned from now on: what was planned before keeps the hashes it was planned with.
    """
    if (account.uet_tag_id, account.enhanced_conversions) == (uet_tag_id, enhanced_conversions):
        return False
    account.uet_tag_id = uet_tag_id
    account.enhanced_conversions = enhanced_conversions
    account.save(update_fields=["uet_tag_id", "enhanced_conversions"])
    logger.info("Account %s: user %s changed the settings", account.account_id, actor.pk)
    return True
