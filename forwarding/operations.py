"""How forwarding stands at this moment, from the rows alone: for the staff's start page."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median

from django.conf import settings
from django.db.models import Count, Min

from forwarding.errors import words_for
from forwarding.models import WAITING, Alert, Attempt, Delivery, Heartbeat, Hold, Upload
from forwarding.rows.upload_rows import among
from forwarding.worker.heartbeats import SWEEP_HEARTBEAT
from integrations.models import AdAccount, Connection

# A page needs to know that there are many, not how many exactly.
MAX_COUNTED = 10_000
MAX_ALERTS = 20
MAX_FAILING = 3
# The last hour's figures are of so many calls at most, the newest.
UPLOADS_LOOKED_AT = 2_000
THROTTLED = 429


@dataclass(frozen=True, slots=True)
class Failing:
    """An account that Microsoft refused most to: how many of the last hour's rows, and mostly for what."""

    account: AdAccount
    refused: int
    mostly: str


@dataclass(frozen=True, slots=True)
class LastHour:
    """What the calls of the last hour brought; of more than UPLOADS_LOOKED_AT the newest, and `is_least` says so.

    `latency` is their median duration in seconds, None where no call has ended.
    """

    calls: int
    accepted: int
    refused: int
    throttled: int
    latency: float | None
    failing: list[Failing]
    is_least: bool

    @property
    def finished(self) -> int:
        """Return how many rows Microsoft answered for good."""
        return self.accepted + self.refused


def last_hour(now: datetime) -> LastHour:
    """Look at the calls of the last hour: two queries, and one more where rows were refused."""
    newest = Upload.objects.order_by("-pk").select_related("account__site__organisation")
    looked_at = list(newest.defer("delivery_ids", "answer")[:UPLOADS_LOOKED_AT])
    calls = [upload for upload in looked_at if upload.started_at > now - timedelta(hours=1)]
    durations = [upload.seconds for upload in calls if upload.seconds is not None]
    return LastHour(
        calls=len(calls),
        accepted=sum(upload.accepted for upload in calls),
        refused=sum(upload.refused for upload in calls),
        throttled=sum(upload.http_status == THROTTLED for upload in calls),
        latency=median(durations) if durations else None,
        failing=_failing([upload for upload in calls if upload.refused]),
        is_least=len(calls) == UPLOADS_LOOKED_AT,
    )


def _failing(uploads: Sequence[Upload]) -> list[Failing]:
    refused: Counter[AdAccount] = Counter()
    for upload in uploads:
        refused[upload.account] += upload.refused
    worst = dict(refused.most_common(MAX_FAILING))
    its = [upload.pk for upload in uploads if upload.account in worst]
    reasons = (
        Attempt.objects.filter(upload__in=among(its), outcome=Attempt.Outcome.REFUSED)
        .order_by()
        .values_list("upload__account", "error_code", "error_symbol")
        .annotate(rows=Count("pk"))
    )
    most: dict[int, tuple[int, str]] = {}
    for account, code, symbol, rows in reasons if its else ():
        told = words_for(code, symbol).title
        most[account] = max(most.get(account, (0, "")), (rows, f"{told} ({symbol if code is None else code})"))
    return [Failing(account, count, most.get(account.pk, (0, ""))[1]) for account, count in worst.items()]


@dataclass(frozen=True, slots=True)
class Operations:
    """Counts of this moment, `due` and `held` at most MAX_COUNTED; ages are None where there is nothing to be old.

    `due` may be sent now; `held` waits for its cause to go, `held_most` being the most common one. `alerts` are what
    somebody was told about and is not over, the oldest first.
    """

    due: int
    oldest_due: timedelta | None
    held: int
    held_most: str
    held_accounts: int
    on_their_way: int
    abandoned: int
    connections: int
    needs_reconnect: int
    needs_operator: int
    last_sweep: timedelta | None
    alerts: list[Alert]

    @property
    def is_worker_away(self) -> bool:
        """Say whether sweeps have stopped coming back for longer than the watchdog would bear."""
        return self.last_sweep is None or self.last_sweep.total_seconds() > settings.WATCHDOG_SECONDS


def operations_at(now: datetime) -> Operations:
    """Look at the rows: nine queries, none of which reads what is done."""
    waiting = Delivery.objects.filter(status__in=WAITING, next_attempt_at__isnull=False).order_by()
    due = waiting.filter(next_attempt_at__lte=now)
    held = waiting.exclude(hold_reason="")
    most = held.values("hold_reason").annotate(rows=Count("pk")).order_by("-rows").first()
    oldest = due.aggregate(at=Min("next_attempt_at"))["at"]
    opened = Upload.objects.filter(finished_at__isnull=True)
    signs_in = dict(Connection.objects.order_by().values_list("status").annotate(rows=Count("pk")))
    swept_at = Heartbeat.objects.filter(name=SWEEP_HEARTBEAT).values_list("beat_at", flat=True).first()
    return Operations(
        due=due[:MAX_COUNTED].count(),
        oldest_due=None if oldest is None else now - oldest,
        held=held[:MAX_COUNTED].count(),
        held_most="" if most is None else str(Hold(most["hold_reason"]).label),
        held_accounts=AdAccount.objects.active().filter(held_until__gt=now).count(),
        on_their_way=opened.filter(leased_until__gt=now).count(),
        abandoned=opened.filter(leased_until__lte=now).count(),
        connections=sum(signs_in.values()),
        needs_reconnect=signs_in.get(Connection.Status.NEEDS_RECONNECT, 0),
        needs_operator=signs_in.get(Connection.Status.NEEDS_OPERATOR, 0),
        last_sweep=None if swept_at is None else now - swept_at,
        alerts=list(Alert.objects.filter(resolved_at__isnull=True).order_by("opened_at")[:MAX_ALERTS]),
    )
