"""One theatre for all runs of a session."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.runner import Theatre


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever runs a behaviour starts real processes."""
    for item in items:
        if item.path.name == "test_conformance.py" and item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.system)


@pytest.fixture(scope="session")
def theatre() -> Iterator[Theatre]:
    """The files, the daemon and the zygotes."""
    made = Theatre()
    yield made
    made.close()
