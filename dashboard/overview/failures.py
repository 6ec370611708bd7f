"""Why conversions failed: errors of the same title are one cause, in whatever account. Pure."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from forwarding.errors import Words, words_for
from forwarding.filters import MAX_TOGETHER, together
from integrations.models import AdAccount


@dataclass(frozen=True, slots=True)
class Place:
    """An account in which a cause struck: how often, and with which of Microsoft's codes and symbols."""

    account: AdAccount
    count: int
    errors: Sequence[str]

    @property
    def asked_for(self) -> str:
        """Return its errors as Forward Logs ask for them; "" where one has no name to ask for."""
        return "" if "" in self.errors or len(self.errors) > MAX_TOGETHER else together(self.errors)


@dataclass(frozen=True, slots=True)
class Cause:
    """A reason why conversions failed, in words, and where, the account with the most first."""

    words: Words
    places: Sequence[Place]

    @property
    def count(self) -> int:
        """Return how many failed by it."""
        return sum(place.count for place in self.places)


class Failures:
    """Counts failures by error and account, and tells their causes."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, AdAccount]] = Counter()

    def add(self, error: str, account: AdAccount, count: int) -> None:
        """Count failures; `error` is Microsoft's code, a symbol, or "" where there is neither."""
        self._counts[error, account] += count

    def causes(self) -> list[Cause]:
        """Return why they failed, the most first."""
        by_title: dict[str, _Found] = {}
        for (error, account), count in self._counts.items():
            if count > 0:
                words = _words(error)
                found = by_title.setdefault(words.title, _Found())
                found.words[words] += count
                found.places.setdefault(account, Counter())[error] += count
        causes = [Cause(_most(one.words), _places(one.places)) for one in by_title.values()]
        return sorted(causes, key=lambda cause: (-cause.count, cause.words.title))


@dataclass(slots=True)
class _Found:
    words: Counter[Words] = field(default_factory=Counter)
    places: dict[AdAccount, Counter[str]] = field(default_factory=dict)


def _most(words: Counter[Words]) -> Words:
    [(most, _)] = words.most_common(1)
    return most


def _words(error: str) -> Words:
    return words_for(int(error), "") if error.isdecimal() else words_for(None, error)


def _places(places: dict[AdAccount, Counter[str]]) -> list[Place]:
    found = [Place(account, errors.total(), sorted(errors)) for account, errors in places.items()]
    return sorted(found, key=lambda place: (-place.count, place.account.name))
