"""Times as Microsoft wants them, and how long a conversion is of any use to it."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

# Microsoft refuses a conversion that is older (5609, cm/offlineconversion); the margin is for the way there.
CONVERSION_LIFE = timedelta(days=90)
CONVERSION_LIFE_MARGIN = timedelta(hours=6)
SENDABLE_FOR = CONVERSION_LIFE - CONVERSION_LIFE_MARGIN
# What has no more than this left goes out before everything else that is due.
LAST_DAYS = timedelta(days=10)
# Before its time is up, what waits is looked at once more: so much earlier.
CLOCK_MARGIN = timedelta(minutes=1)
# Clocks of one moment differ by as much; what is further ahead lies in the future.
SAME_MOMENT = timedelta(seconds=5)


def expires_at(occurred_at: datetime) -> datetime:
    """Return the moment from which Microsoft would refuse the conversion as too old."""
    return occurred_at + SENDABLE_FOR


def utc_second(moment: datetime) -> str:
    """Write a moment as Microsoft wants it: UTC, whole seconds, `Z` (cm/offlineconversion: ConversionTime)."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def zone_named(name: str) -> ZoneInfo:
    """Return a site's time zone; UTC when its name is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo("UTC")
