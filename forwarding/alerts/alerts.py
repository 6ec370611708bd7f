"""Telling people what needs them, so that nobody has to watch: one mail per cause, and one when it is over.

An alert is opened when its cause is first seen, and told once the cause has lasted for its patience. A cause that
comes back within half an hour of the last mail waits for the rest of it. A mail server that is away is asked again a
minute later: until a mail has gone out `told_at` stays empty, and what is over stays open. An alert that nobody was
told about leaves no trace but the log.

Call `attend` from one process at a time; `forwarding.tasks.tell` sees to that.
"""

import logging
import time
from collections.abc import Iterable
from datetime import datetime, timedelta

from django.conf import settings
from django.contrib.auth.models import User
from django.core.mail import EmailMessage
from django.db.models import QuerySet

from forwarding.alerts.causes import EXPIRING, Cause, causes
from forwarding.models import Alert, Delivery, Status
from forwarding.sending.claims import EXPIRED_SYMBOL
from ingest.models import Role

QUIET = timedelta(minutes=30)
# Mails are begun for so long; the rest follows a minute later.
TELL_SECONDS = 20
TOLD_ROLES = (Role.OWNER, Role.ADMIN)

logger = logging.getLogger(__name__)


def attend(now: datetime) -> None:
    """Open an alert for every new cause, tell what is to be told, and close what is over."""
    found = {cause.key: cause for cause in causes(now)}
    known = set(_not_over().values_list("cause", flat=True))
    for key in found.keys() - known:
        _open(found[key], now)
    told_lately = set(
        Alert.objects.filter(told_at__gt=now - QUIET, resolved_at__isnull=False).values_list("cause", flat=True)
    )
    stop_at = time.monotonic() + TELL_SECONDS
    for alert in _not_over().order_by("pk"):
        cause = found.get(alert.cause)
        if time.monotonic() > stop_at:
            break
        if cause is None:
            _close(alert, now)
        elif alert.told_at is None and alert.opened_at + cause.patience <= now and cause.key not in told_lately:
            _tell(alert, cause, now)


def _not_over() -> QuerySet[Alert]:
    return Alert.objects.filter(resolved_at__isnull=True)


def _open(cause: Cause, now: datetime) -> None:
    Alert.objects.get_or_create(
        cause=cause.key,
        resolved_at=None,
        defaults={
            "organisation_id": cause.organisation_id,
            "subject": _one_line(cause.subject),
            "text": cause.text,
            "opened_at": now,
        },
    )


def _tell(alert: Alert, cause: Cause, now: datetime) -> None:
    # What was found when it was opened may be more by now.
    alert.subject, alert.text = _one_line(cause.subject), cause.text
    logger.log(cause.level, "Alert %s: %s", cause.key, alert.subject)
    if _mail(alert, alert.subject, alert.text):
        alert.told_at = now
    alert.save(update_fields=["subject", "text", "told_at"])


def _close(alert: Alert, now: datetime) -> None:
    if alert.told_at is None:
        alert.delete()
        return
    text = f"This is over, since {now:%B %-d, %H:%M} UTC:\n\n{alert.subject}"
    if _mail(alert, f"Over: {alert.subject}", f"{text}\n\n{_ending(alert)}".rstrip()):
        alert.resolved_at = now
        alert.save(update_fields=["resolved_at"])
        logger.info("Alert %s is over", alert.cause)


def _ending(alert: Alert) -> str:
    """Return what became of conversions that were about to expire: that none waits any more may mean two things."""
    if not alert.cause.startswith(EXPIRING):
        return ""
    account_id = int(alert.cause.removeprefix(EXPIRING))
    lost = Delivery.objects.filter(
        account=account_id, status=Status.FAILED, error_symbol=EXPIRED_SYMBOL, changed_at__gte=alert.opened_at
    ).count()
    verb = "was" if lost == 1 else "were"
    return f"{lost:,} of them became too old and {verb} not sent." if lost else "None of them was lost."


def _mail(alert: Alert, subject: str, text: str) -> bool:
    """Mail it to whom it concerns; False when the mail server would not take it. Without an address the log has it."""
    addresses = sorted(_addresses(alert))
    if not addresses:
        return True
    try:
        EmailMessage(subject, f"{text}\n", to=addresses).send()
    except (OSError, ValueError) as error:  # SMTPException is an OSError; ValueError is an address of no use
        # Not its text: it may name the addresses.
        logger.warning("Alert %s could not be mailed: %s", alert.cause, type(error).__name__)
        return False
    return True


def _addresses(alert: Alert) -> Iterable[str]:
    if alert.organisation_id is None:
        return list(settings.ALERT_EMAILS)
    members = User.objects.filter(
        is_active=True, memberships__organisation=alert.organisation_id, memberships__role__in=TOLD_ROLES
    )
    return members.exclude(email="").values_list("email", flat=True).distinct()


def _one_line(text: str) -> str:
    """Return a subject that fits its column and can travel in a header."""
    longest = Alert._meta.get_field("subject").max_length
    return " ".join(text.split())[:longest]
