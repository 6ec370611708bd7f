"""When tasks last came back. The worker's watchdog, the alerts and the staff's start page trust this, not the queue."""

from datetime import UTC, datetime, timedelta

from forwarding.models import Heartbeat

SWEEP_HEARTBEAT, UPKEEP_HEARTBEAT, ALERTS_HEARTBEAT = "sweep", "upkeep", "alerts"
# When a sweep was asked for that has not begun; long ago where there is none.
ASKED_HEARTBEAT = "sweep asked for"
_LONG_AGO = datetime.fromtimestamp(0, UTC)


def beat(name: str, now: datetime, every: timedelta = timedelta(0)) -> bool:
    """Note the moment under a name, unless the last one is less than `every` ago; return whether it was noted.

    Of several processes that do so at once, one is told that it was.
    """
    last, is_first = Heartbeat.objects.get_or_create(name=name, defaults={"beat_at": now})
    if is_first or last.beat_at > now - every:
        return is_first
    return bool(Heartbeat.objects.filter(name=name, beat_at__lte=now - every).update(beat_at=now))


def forget(name: str) -> None:
    """Let the next beat under a name be noted, however soon it comes."""
    Heartbeat.objects.filter(name=name, beat_at__gt=_LONG_AGO).update(beat_at=_LONG_AGO)
