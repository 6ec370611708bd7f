"""What a run says when it is over: what went on, and what came of it. Pure."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from statistics import median
from typing import Any

from tests.chaos.ledger import Ledger
from tests.chaos.trouble import Hit, Trouble
from tests.chaos.verdict import RESUMED_WITHIN_SECONDS, Evidence, resumptions, sums_of_books, sums_of_ledger

MOST_NAMED = 12  # violations of one kind


def of_traffic(ledger: Ledger, answers: Mapping[str, int]) -> Iterator[str]:
    """Say what customers sent and how it was answered."""
    facts = sum(1 for _ in ledger.facts())
    yield f"  traffic    {facts:,} facts of {ledger.size:,} orders; requests: {listed(answers, ' ×')}"


def of_trouble(trouble: Trouble, takeovers: int, lifted: int) -> Iterator[str]:
    """Say what was hit, and what else went wrong."""
    stops = sum(hit.stopped_seconds is not None for hit in trouble.hits)
    yield f"  hits       {len(trouble.hits)}, {stops} of them stops: {listed(trouble.by_role())}"
    yield (
        f"  besides    {trouble.wipes} queue wipes, {trouble.key_changes} change of SECRET_KEY;"
        f" {takeovers} uploads taken over, {lifted} holds lifted by hand"
    )


def of_resumption(hits: Sequence[Hit], evidence: Evidence, now: datetime) -> tuple[list[str], list[str]]:
    """Return how soon the next booking came after each hit, as lines and as violations."""
    gaps = resumptions([hit.at for hit in hits], [one.at for one in evidence.booked], now)
    pairs = list(zip(gaps, hits, strict=True))
    if not pairs:
        return [], []
    gap, hit = max(pairs, key=lambda pair: pair[0])
    lines = [f"  resumed    {median(gaps):.1f} s after a hit (median), {gap:.1f} s at most ({hit})"]
    return lines, [f"resumed late: {gap:.0f} s after {hit}" for gap, hit in pairs if gap > RESUMED_WITHIN_SECONDS]


def of_books(evidence: Evidence, calls: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Say what Microsoft saw, what our rows say, and how the sums of the ledger and of the books compare."""
    faulty = Counter(call["fault"] for call in calls if call["fault"])
    share = sum(faulty.values()) / max(1, len(calls))
    yield f"  Microsoft  {len(calls):,} calls, {share:.1%} of them with a fault: {listed(faulty)}"
    yield f"             rows: {listed(Counter(one.outcome for one in evidence.received))}"
    yield f"  our rows   {listed(Counter(f'{row.kind} {row.status}' for row in evidence.rows))}"
    ledger, books = sums_of_ledger(evidence.expected), sums_of_books(evidence.booked)
    for key in sorted(ledger.keys() | books.keys()):
        due, there = ledger.get(key, (0, 0)), books.get(key, (0, 0))
        sign = "=" if due == there else "≠"
        sums = f"ledger {due[0]:>6,} {due[1]:>14,} {sign} books {there[0]:>6,} {there[1]:>14,}"
        yield f"  {' / '.join(key):44} {sums}"


def of_verdict(violations: Sequence[str]) -> Iterator[str]:
    """Say what was violated: at most a dozen of each kind, by the words before the colon."""
    if not violations:
        yield "  verdict    0 lost, 0 counted twice, 0 wrong values, 0 wrong statuses, 0 miscounts"
        return
    kinds: dict[str, list[str]] = {}
    for sentence in violations:
        kinds.setdefault(sentence.partition(":")[0], []).append(sentence)
    yield f"  VIOLATED   {listed({kind: len(its) for kind, its in kinds.items()})}"
    for its in kinds.values():
        yield from (f"    {sentence}" for sentence in its[:MOST_NAMED])
        if len(its) > MOST_NAMED:
            yield f"    … and {len(its) - MOST_NAMED:,} more"


def listed(counts: Mapping[str, int], sign: str = "") -> str:
    """Return counts as words, the largest first."""
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count:,}{sign} {what}" for what, count in ordered) or "none"
