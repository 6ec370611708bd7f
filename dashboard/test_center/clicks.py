"""Which click a test may use: the newest that a site caught, or one that a person pastes."""

from datetime import datetime, timedelta
from typing import NamedTuple
from urllib.parse import parse_qs

from ingest.click_ids import is_click_id, is_test_click_id
from ingest.models import Click, Consent, ConsentPolicy, Site

# How far back clicks of all sites are looked through for one of this site: a bound, not a promise.
_LOOKED_THROUGH = 50_000
_CANDIDATES = 50
_OLDEST = timedelta(days=90)
_UET_PREFIX = "_uet"  # of Microsoft's own cookie, _uetmsclkid


class LatestClick(NamedTuple):
    """A click id and the moment it was caught."""

    msclkid: str
    captured_at: datetime


def latest_click(site: Site, now: datetime) -> LatestClick | None:
    """Return the newest click of a site whose visitor does not refuse that it is sent; None where there is none."""
    newest = Click.objects.order_by("-pk").values_list("pk", flat=True).first()
    if newest is None:
        return None
    clicks = site.clicks.filter(pk__gt=newest - _LOOKED_THROUGH, captured_at__gt=now - _OLDEST)
    if site.consent_policy == ConsentPolicy.ASSUME:
        clicks = clicks.exclude(consent=Consent.DENIED)
    else:
        clicks = clicks.filter(consent=Consent.GRANTED)
    found = clicks.order_by("-pk").values_list("msclkid", "captured_at")[:_CANDIDATES]
    return next((LatestClick(*row) for row in found if is_click_id(row[0])), None)


def read_click_id(pasted: str) -> str:
    """Return the click id in what was pasted: an id, or an address with `msclkid` in it.

    Raises ValueError, its text for a person, where there is none that Microsoft could know.
    """
    text = pasted.strip()
    if "msclkid=" in text.lower():
        named = {name.lower(): values for name, values in parse_qs(text.partition("?")[2].partition("#")[0]).items()}
        text = (named.get("msclkid") or [""])[-1].strip()
    text = text.removeprefix(_UET_PREFIX)
    if is_test_click_id(text):
        raise ValueError(
            "This is a test click of the Install page, which Microsoft does not know. Click one of your ads."
        )
    if not is_click_id(text):
        raise ValueError(
            "This is no click ID. Paste its 32 characters, or the whole address of the page that your ad opened."
        )
    return text
