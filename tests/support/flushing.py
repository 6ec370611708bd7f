"""The flush after a test, beside a server that is still writing.

A server answers before its notes are written (`ingest/notes.py`), so a test may end in the middle of one. Emptying all
tables and that small transaction then take their locks in different orders, and PostgreSQL refuses one of the two.
"""

from collections.abc import Callable

from django.core.management import CommandError
from django.db.utils import OperationalError
from django.test import TransactionTestCase

TRIES = 5


def through_deadlocks(flush: Callable[[TransactionTestCase], None]) -> Callable[[TransactionTestCase], None]:
    """Return a flush that begins again when it was the one refused; any other trouble stays trouble."""

    def patient(case: TransactionTestCase) -> None:
        for tries_left in reversed(range(TRIES)):
            try:
                flush(case)
            except CommandError as error:
                if not _is_deadlock(error) or not tries_left:
                    raise
            else:
                return

    return patient


def _is_deadlock(error: CommandError) -> bool:
    return isinstance(error.__cause__, OperationalError) and "deadlock" in str(error.__cause__)
