"""Fixtures that every test may ask for, and what every test begins with."""

from collections.abc import Iterator
from unittest.mock import patch

import pytest
from django.core.cache import cache
from django.test import TransactionTestCase

from ingest import blocked_origins, refused_items
from ingest.keys import forget_all
from tests.support.flushing import through_deadlocks

pytest_plugins = ["tests.support.chromium"]


@pytest.fixture(autouse=True, scope="session")
def _patient_flush() -> Iterator[None]:
    """Let no server that still writes down what it saw keep a test from leaving an empty database behind."""
    flush = through_deadlocks(TransactionTestCase._fixture_teardown)  # type: ignore[attr-defined]
    with patch.object(TransactionTestCase, "_fixture_teardown", flush):
        yield


@pytest.fixture(autouse=True)
def _nobody_is_known() -> None:
    """Forget what keys opened in the test before, and what was noted: its rows are gone, and ids are given anew.

    And who signed in from this address: allauth counts that in the cache, and would refuse the fast ones.
    """
    cache.clear()
    forget_all()
    blocked_origins.notes.forget()
    refused_items.notes.forget()
    refused_items.capped.forget()
