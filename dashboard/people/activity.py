"""When somebody was last here, and whether they sign in with two steps."""

from datetime import datetime, timedelta

from allauth.mfa.models import Authenticator
from allauth.usersessions.models import UserSession
from django.db.models import Exists, OuterRef, QuerySet, Subquery
from django.http import HttpRequest
from django.utils import timezone

from ingest.models import Membership

SESSION_KEY = "seen_at"
NOTED_EVERY = timedelta(minutes=5)


def with_activity(rows: QuerySet[Membership]) -> QuerySet[Membership]:
    """Add to each membership `last_seen_at` (None: never since they were last told apart) and `two_step`."""
    sessions = UserSession.objects.filter(user=OuterRef("user")).order_by("-last_seen_at").values("last_seen_at")
    totp = Authenticator.objects.filter(user=OuterRef("user"), type=Authenticator.Type.TOTP)
    return rows.annotate(last_seen_at=Subquery(sessions[:1]), two_step=Exists(totp))


def begin_noting(request: HttpRequest, **_: object) -> None:
    """Begin to note when this device is here; called at every sign-in."""
    request.session[SESSION_KEY] = timezone.now().timestamp()


def note_seen(request: HttpRequest, now: datetime) -> None:
    """Note that this device was here, at most every five minutes: a page must not cost a write."""
    noted = request.session.get(SESSION_KEY)
    if noted is None:
        return  # the session is older than these notes, or was not begun at the sign-in page
    if now.timestamp() - noted < NOTED_EVERY.total_seconds():
        return
    request.session[SESSION_KEY] = now.timestamp()
    UserSession.objects.filter(session_key=request.session.session_key).update(last_seen_at=now)
