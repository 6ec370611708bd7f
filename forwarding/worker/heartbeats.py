"""When tasks last came back. The worker's watchdog, the alerts and the staff's start page trust this, not the queue."""

from datetime import datetime, timedelta

from forwarding.models import Heartbeat

SWEEP_HEARTBEAT, UPKEEP_HEARTBEAT, ALERTS_HEARTBEAT = "sweep", "upkeep", "alerts"


def beat(name: str, now: datetime, every: timedelta = timedelta(0)) -> bool:
    """Note the moment under a name, unless the last one is less than `every` ago; return whether it was noted.

    Of several processes that do so at once, one is told that it was.
    """
    _, is_first = Heartbeat.objects.get_or_create(name=name, defaults={"beat_at": now})
    return is_first or bool(Heartbeat.objects.filter(name=name, beat_at__lte=now - every).update(beat_at=now))
