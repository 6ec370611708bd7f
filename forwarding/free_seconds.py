"""A second of its own for each conversion of a click and goal: Microsoft keeps one a second and drops the others
without a word (api notes 4.3).
"""

from collections.abc import Iterable, Sequence

from forwarding.click_resolution import any_case
from forwarding.conversions import MatchKey, match_key, shift_by_a_second, skipped
from forwarding.models import Delivery, Skip

MAX_SHIFT_SECONDS = 60


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
    sent = Delivery.objects.forwarded().filter(
        account_id__in={row.account_id for row in rows},
        conversion_time__in={row.conversion_time for row in rows},
    )
    fields = ("account_id", "goal_name", "msclkid", "email_sha256", "phone_sha256", "conversion_time")
    click_ids = any_case(row.msclkid for row in rows if row.msclkid)
    taken = {match_key(row) for row in sent.filter(msclkid__in=click_ids).only(*fields)}
    without_click = [row for row in rows if not row.msclkid]
    if without_click:
        same_people = sent.filter(
            msclkid="",
            email_sha256__in={row.email_sha256 for row in without_click},
            phone_sha256__in={row.phone_sha256 for row in without_click},
        ).only(*fields)
        taken |= {match_key(row) for row in same_people}
    return taken
