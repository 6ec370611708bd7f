"""What a form remembers of the settings that it shows, so that nobody overwrites what somebody else set meanwhile."""

import hashlib
from collections.abc import Mapping, Sequence

from django.db.models import Model


class ChangedMeanwhileError(Exception):
    """Somebody else set something else since the form was drawn: `names`."""

    def __init__(self, names: list[str]) -> None:
        super().__init__(", ".join(names))
        self.names = names


def seen_of(row: Model, settings: Sequence[str]) -> str:
    """Return a digest of each of the settings, in their order."""
    return " ".join(digest_of(getattr(row, name)) for name in settings)


def digest_of(value: object) -> str:
    """Return what `seen_of` keeps of a value."""
    return hashlib.sha256(repr(value).encode()).hexdigest()[:12]


def refuse_moved(locked: Model, settings: Sequence[str], given: Mapping[str, object], seen: str) -> None:
    """Raise ChangedMeanwhileError where a value that is given would overwrite one that the form has not shown.

    `seen` is what `seen_of` said when the form was drawn; without it nothing is refused.
    """
    pairs = zip(settings, seen.split(), strict=False)
    moved = [name for name, digest in pairs if digest != digest_of(getattr(locked, name))]
    lost = [name for name in moved if name in given and getattr(locked, name) != given[name]]
    if lost:
        raise ChangedMeanwhileError(lost)


def untouched(settings: Sequence[str], given: Mapping[str, object], names: Sequence[str], seen: str) -> list[str]:
    """Return which of the names the person left as the form had drawn them."""
    drawn = dict(zip(settings, seen.split(), strict=False))
    return [name for name in names if drawn.get(name) == digest_of(given[name])]
