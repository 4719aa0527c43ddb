import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from webservers import MB, Authority, Content, Credentials, ServerConfig, available
from webservers.guard import parents


@pytest.fixture(scope="session")
def authority() -> Authority:
    return Authority.create()


@pytest.fixture(scope="session")
def credentials(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Credentials:
    return authority.issue(tmp_path_factory.mktemp("credentials"))


@pytest.fixture
def content(tmp_path: Path) -> Content:
    return Content.write(tmp_path / "www", MB)


@pytest.fixture(params=["granian", "nginx", "lighttpd", "apache", "caddy"])
def kind(request: pytest.FixtureRequest) -> str:
    found = next(one for one in available() if one.kind == request.param)
    if not found.usable:
        pytest.skip(found.reason)
    return found.kind


@pytest.fixture
def nginx() -> str:
    found = next(one for one in available() if one.kind == "nginx")
    if not found.usable:
        pytest.skip(found.reason)
    return found.executable


@pytest.fixture
def configure(tmp_path: Path, content: Content, credentials: Credentials) -> Callable[..., ServerConfig]:
    def make(**changes: Any) -> ServerConfig:
        config = ServerConfig(content.path.parent, credentials.chain, credentials.key, tmp_path / "run")
        return replace(config, **changes)

    return make


@pytest.fixture(autouse=True)
def no_process_is_left() -> Iterator[None]:
    before = set(parents())
    yield
    ours = {pid for pid, parent in parents().items() if parent == os.getpid()}
    assert not ours - before
