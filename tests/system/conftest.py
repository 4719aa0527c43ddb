"""One daemon and one zygote for most of the system tests; whoever breaks things starts their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.certificates import authority
from tests.system.daemons import Daemon, Zygote
from tests.system.servers import Server, download, echo, serving, tls


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here starts real processes."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.system)


@pytest.fixture(scope="session")
def daemon() -> Iterator[Daemon]:
    """A daemon with two workers that lives as long as the test run."""
    made = Daemon()
    yield made
    assert sorted(made.worker_pids()) == sorted(made.workers), made.log()
    assert made.stop() == 0
    made.close()


@pytest.fixture(scope="session")
def zygote(daemon: Daemon) -> Iterator[Zygote]:
    """Where programs come from."""
    made = Zygote(daemon.path)
    yield made
    made.stop()


@pytest.fixture
def own_daemon() -> Iterator[Daemon]:
    """A daemon that a test may break."""
    made = Daemon()
    yield made
    if made.process.poll() is None:
        made.stop()
    made.close()


@pytest.fixture
def start_zygote() -> Iterator[Callable[[Daemon], Zygote]]:
    """Programs for a daemon of one's own."""
    started: list[Zygote] = []

    def start(daemon: Daemon) -> Zygote:
        started.append(Zygote(daemon.path))
        return started[-1]

    yield start
    for zygote in started:
        zygote.stop()


@pytest.fixture(scope="session")
def ca(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The path of the tests' anchors."""
    path = tmp_path_factory.mktemp("anchors") / "ca.pem"
    path.write_bytes(authority().anchors_pem)
    return str(path)


@pytest.fixture
def web() -> Iterator[Server]:
    """An honest web server with a body of 1 MB."""
    with serving(tls(download)) as server:
        yield server


@pytest.fixture
def echoing() -> Iterator[Server]:
    """An honest echo server."""
    with serving(tls(echo)) as server:
        yield server
