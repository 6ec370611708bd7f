"""The world's server, and axe."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.pages.serving import Served, serve

AXE = Path(__file__).parent / "node_modules/axe-core/axe.min.js"


@pytest.fixture
def served(transactional_db: None) -> Iterator[Served]:  # noqa: ARG001 - what is served is committed
    """Yield the world behind a server."""
    with serve() as world:
        yield world


@pytest.fixture(scope="session")
def axe() -> str:
    """Return axe-core's source, as it is put into pages."""
    if not AXE.exists():
        pytest.fail("axe-core is missing; `make test` installs it, and so does: npm ci --prefix tests/pages")
    return AXE.read_text()
