"""Stores what many requests brought, in as few commits as there are kinds of it, and answers each request.

Raises django.db.OperationalError and its kin while the database is away; then each may be sent again.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime
from itertools import islice
from typing import Any

from django.db import DatabaseError, DataError, IntegrityError, connection, transaction

from convultra import failpoints
from ingest import answers, limits, storing
from ingest.door import ADJUSTMENTS, CLICKS, EVENTS, Batch, Post
from ingest.http import Answer
from ingest.judging import Outcome, Refusal
from ingest.models import Site

logger = logging.getLogger(__name__)

_Store = Callable[[Sequence[Any]], Sequence[Outcome | Refusal]]


def commit(batches: Sequence[Batch], now: datetime) -> list[Answer]:
    """Store the rows of batches of any sites, as far as their limits let them; return an answer for each batch.

    An answer that says accepted is given after the commit that holds what it speaks of.
    """
    failpoints.reach(failpoints.BEFORE_INGEST)
    told = _commit_at_once(batches, now) if connection.vendor == "sqlite" else _count_and_store(batches, now)
    failpoints.reach(failpoints.AFTER_INGEST)
    return told


def _commit_at_once(batches: Sequence[Batch], now: datetime) -> list[Answer]:
    """Count the limits in the same commit, because SQLite waits for the disk at each.

    PostgreSQL does not wait for its buckets (UNLOGGED), but other processes would wait for their locks meanwhile.
    """
    try:
        with transaction.atomic():
            return _count_and_store(batches, now)
    except IntegrityError:  # foreign keys are looked at when all is committed: too late to find the row at fault
        return _count_and_store(batches, now)


def _count_and_store(batches: Sequence[Batch], now: datetime) -> list[Answer]:
    refused = limits.refuse(batches, now)
    let_in = [batch for batch, answer in zip(batches, refused, strict=True) if answer is None]
    outcomes: dict[int, Sequence[Outcome | Refusal]] = {}
    try:
        for post, store in _STORES:
            outcomes |= _store_all([batch for batch in let_in if batch.post is post], store)
    except Exception:
        # Who is told to come again must find room then.
        with suppress(DatabaseError):
            limits.give_back(((batch, len(batch.rows)) for batch in let_in), now)
        raise
    limits.give_back(((batch, _unstored(outcomes[id(batch)])) for batch in let_in), now)
    return [answer or _answer(batch, outcomes[id(batch)]) for batch, answer in zip(batches, refused, strict=True)]


def _unstored(outcomes: Sequence[Outcome | Refusal]) -> int:
    return sum(outcome is not Outcome.ACCEPTED for outcome in outcomes)


def _store_all(batches: Sequence[Batch], store: _Store) -> dict[int, Sequence[Outcome | Refusal]]:
    """Store the rows of all batches together; return what became of each batch's, by its `id()`."""
    outcomes = iter(store_isolating(store, [row for batch in batches for row in batch.rows]))
    return {id(batch): list(islice(outcomes, len(batch.rows))) for batch in batches}


def store_isolating(store: _Store, rows: Sequence[Any]) -> Sequence[Outcome | Refusal]:
    """Store rows. If the database refuses them, halve them until the one at fault stands alone.

    Whatever a column refuses was refused before (`ingest/parsing.py`), so this is for a site that was deleted
    meanwhile, and for what we have not thought of: it must not take its neighbours with it.
    """
    if not rows:
        return []
    try:
        return store(rows)
    except (IntegrityError, DataError) as error:
        if len(rows) == 1:
            return [_explain(rows[0].site_id, error)]
    middle = len(rows) // 2
    return [*store_isolating(store, rows[:middle]), *store_isolating(store, rows[middle:])]


def _explain(site_id: int, error: Exception) -> Refusal:
    if not Site.objects.filter(pk=site_id).exists():
        return _SITE_IS_GONE
    # The error's own words would quote the row.
    logger.error("The database refused a row of site %s (%s).", site_id, type(error).__name__)
    return Refusal("", "not_storable")


def _answer(batch: Batch, outcomes: Sequence[Outcome | Refusal]) -> Answer:
    return answers.unknown_key() if _SITE_IS_GONE in outcomes else batch.answer(outcomes)


_SITE_IS_GONE = Refusal("", "site_gone")
_STORES: Sequence[tuple[Post, _Store]] = (
    (EVENTS, storing.store_events),
    (CLICKS, storing.store_clicks),
    (ADJUSTMENTS, storing.store_adjustments),
)
