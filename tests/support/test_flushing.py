"""The flush after a test, beside a server that is still writing."""

from unittest.mock import Mock

import pytest
from django.core.management import CommandError
from django.db.utils import OperationalError
from django.test import TransactionTestCase

from tests.support.flushing import TRIES, through_deadlocks


def refused(why: str) -> CommandError:
    """Return what Django's flush raises."""
    error = CommandError("couldn't be flushed")
    error.__cause__ = OperationalError(why)
    return error


def test_a_flush_that_met_a_deadlock_begins_again() -> None:
    flush = Mock(side_effect=[refused("deadlock detected"), None])
    through_deadlocks(flush)(TransactionTestCase())
    assert flush.call_count == 2


def test_a_deadlock_that_stays_is_told() -> None:
    flush = Mock(side_effect=[refused("deadlock detected")] * TRIES)
    with pytest.raises(CommandError):
        through_deadlocks(flush)(TransactionTestCase())


def test_any_other_trouble_is_told_at_once() -> None:
    flush = Mock(side_effect=refused("disk full"))
    with pytest.raises(CommandError):
        through_deadlocks(flush)(TransactionTestCase())
    assert flush.call_count == 1
