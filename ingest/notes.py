"""What senders do wrong, kept to be shown to people: few rows of an owner, each written at once and then seldom.

It is a help, so no trouble of its is anybody else's.
"""

import logging
from collections.abc import Hashable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import Error as DatabaseError
from django.db import transaction
from django.db.models import Case, F, Manager, Value, When

from ingest.models import BlockedOrigin, RefusedItem
from ingest.storing import be_impatient

logger = logging.getLogger(__name__)

PRECISION = timedelta(minutes=1)
LONG_AGO = datetime.min.replace(tzinfo=UTC)


class Lately:
    """What this process has noted within PRECISION, by owner; of each no more things than `limit`."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._known: dict[Hashable, dict[Hashable, datetime]] = {}

    def is_news(self, owner: Hashable, thing: Hashable, now: datetime) -> bool:
        """Say whether a thing is to be noted now."""
        known = self._recent(owner, now)
        return thing not in known and len(known) < self._limit

    def take(self, owner: Hashable, thing: Hashable, now: datetime) -> bool:
        """Say the same, and remember it: next it is no news."""
        is_news = self.is_news(owner, thing, now)
        if is_news:
            self._known[owner] = {**self._recent(owner, now), thing: now}
        return is_news

    def forget(self) -> None:
        """Take everything for news."""
        self._known.clear()

    def _recent(self, owner: Hashable, now: datetime) -> dict[Hashable, datetime]:
        return {thing: at for thing, at in self._known.get(owner, {}).items() if now - at < PRECISION}


class Notes:
    """The rows of a model with `first_at` and `last_at`; of each owner the `limit` that were seen last."""

    def __init__(self, model: type[BlockedOrigin] | type[RefusedItem], limit: int) -> None:
        self._model, self._limit = model, limit
        self._lately = Lately(limit)

    def is_news(self, owner: Mapping[str, object], said: Mapping[str, str], now: datetime) -> bool:
        """Say whether `keep` would write."""
        return self._lately.is_news((*owner.values(),), (*said.values(),), now)

    def keep(
        self, owner: Mapping[str, object], said: Mapping[str, str], now: datetime, since: datetime = LONG_AGO
    ) -> None:
        """Write that something was seen now, unless this process did within PRECISION, or wrote too many others.

        `owner` and `said` are columns. A row that was not seen since `since` begins anew. Nothing happens while the
        database is away, or when the site was deleted meanwhile.
        """
        if not self._lately.take((*owner.values(),), (*said.values(),), now):
            return
        try:
            be_impatient()
            with transaction.atomic():
                self._write(owner, said, now, since)
        except DatabaseError as error:
            logger.warning("Of site %s nothing could be noted (%s).", owner["site_id"], type(error).__name__)

    def forget(self) -> None:
        """Write everything again."""
        self._lately.forget()

    def _write(self, owner: Mapping[str, object], said: Mapping[str, str], now: datetime, since: datetime) -> None:
        rows: Manager[Any] = self._model._default_manager
        first_at = Case(When(last_at__lt=since, then=Value(now)), default=F("first_at"))
        if rows.filter(**owner, **said).update(first_at=first_at, last_at=now):
            return
        newest = rows.filter(**owner).order_by("-last_at", "-pk").values_list("pk", flat=True)
        rows.filter(pk__in=list(newest[self._limit - 1 :])).delete()
        # Another process may have written the same one just now.
        rows.bulk_create([self._model(**owner, **said, first_at=now, last_at=now)], ignore_conflicts=True)
