"""Fixtures: the five sites that the table is held against."""

from collections.abc import Iterator

import pytest

from tests.server_helpers.sites import LoopbackSite, Site, django_settings, django_site, node_site, php_site


@pytest.fixture
def django() -> Iterator[Site]:
    """Yield the site under Django."""
    with django_settings():
        yield django_site


@pytest.fixture(scope="module")
def express() -> Iterator[Site]:
    """Yield the site under Express."""
    with node_site("express") as site:
        yield site


@pytest.fixture(scope="module")
def node_http() -> Iterator[LoopbackSite]:
    """Yield the site under node's own server."""
    with node_site("http") as site:
        yield site


@pytest.fixture(scope="module")
def php() -> Iterator[Site]:
    """Yield the site in plain PHP."""
    with php_site() as site:
        yield site


@pytest.fixture(scope="module")
def wordpress() -> Iterator[Site]:
    """Yield the site as WordPress would run the hook; no WordPress is there, only its one function."""
    with php_site(wordpress="1") as site:
        yield site
