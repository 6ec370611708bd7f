"""A second of its own for each conversion of a click and goal: Microsoft keeps one a second and drops the others
without a word (api notes 4.3).
"""

from collections.abc import Iterable, Sequence

from forwarding.models import Delivery, Skip
from forwarding.planning.click_resolution import any_case
from forwarding.planning.conversions import MatchKey, match_key, shift_by_a_second, skipped
from forwarding.rows.matching import matching

MAX_SHIFT_SECONDS = 60
_WITHOUT_CLICK = "msclkid = '' AND NOT (email_sha256 = '' AND phone_sha256 = '')"


def shift_to_free_seconds(rows: Sequence[Delivery]) -> None:
    """Move what shares its second with another one; what finds none within reach is not forwarded.

    Each round looks only at the seconds that are asked for, so a flood of one click costs a few small queries.
    """
    placed: set[MatchKey] = set()
    seeking = rows
    for _ in range(MAX_SHIFT_SECONDS + 1):
        if not seeking:
            return
        taken = _taken(seeking) | placed
        homeless = []
        for row in seeking:
            key = match_key(row)
            if key in taken:
                homeless.append(row)
            else:
                placed.add(key)
                taken.add(key)
        for row in homeless:
            shift_by_a_second(row)
        seeking = homeless
    for row in seeking:
        skipped(row, Skip.SAME_SECOND)


def _taken(rows: Iterable[Delivery]) -> set[MatchKey]:
    """Return the keys of what was planned before in the same seconds for the same clicks or, without one, people."""
    clicks = {
        (row.account_id, click_id, row.conversion_time)
        for row in rows
        if row.msclkid
        for click_id in any_case([row.msclkid])
    }
    people = {
        (row.account_id, row.email_sha256, row.phone_sha256, row.conversion_time) for row in rows if not row.msclkid
    }
    same_click = matching(Delivery, ("account_id", "msclkid", "conversion_time"), clicks, "NOT (msclkid = '')")
    columns = ("account_id", "email_sha256", "phone_sha256", "conversion_time")
    same_person = matching(Delivery, columns, people, _WITHOUT_CLICK)
    sent = Delivery.objects.forwarded().only("goal_name", "msclkid", *columns)
    return {
        match_key(row)
        for keys, rows_of_them in ((clicks, same_click), (people, same_person))
        if keys
        for row in sent.filter(pk__in=rows_of_them)
    }
