"""A program in C, with and without a dynamic linker: the boundary is the system call, not a library."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from ssa_impl.cli.generate import HEADER
from tests.system.daemons import Daemon, environment, ssa_run
from tests.system.servers import BODY, Server

SOURCE = Path(__file__).with_name("client.c")
WAYS = {
    "dynamic": ["gcc"],
    "static glibc": ["gcc", "-static"],
    "static musl": ["musl-gcc", "-static"],
}


@pytest.fixture(scope="module", params=WAYS)
def client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    compiler, *flags = WAYS[request.param]
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    built = tmp_path_factory.mktemp("client") / "client"
    include = f"-I{HEADER.parent}"
    command = [compiler, "-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", include, *flags]
    compiled = subprocess.run([*command, str(SOURCE), "-o", str(built)], capture_output=True, text=True, check=False)
    if "-static" in flags and "cannot find -lc" in compiled.stderr:
        pytest.skip(f"{compiler} has no static libc")
    assert compiled.returncode == 0, compiled.stderr
    return str(built)


def run(daemon: Daemon, *command: str) -> tuple[int, str]:
    done = subprocess.run(
        ssa_run(daemon.path, *command), capture_output=True, text=True, env=environment(), timeout=60, check=False
    )
    assert done.stderr == ""
    return done.returncode, done.stdout


def test_download(client: str, daemon: Daemon, web: Server, ca: str) -> None:
    size = len(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n") + len(BODY)
    expected = f"{size} bytes, TLS_, 127.0.0.1:{web.port}, size 1\n"
    assert run(daemon, client, str(web.port), ca, "server.ssa.test") == (0, expected)
    assert web.word() == "in order"


def test_wrong_name(client: str, daemon: Daemon, web: Server, ca: str) -> None:
    expected = "connect: 71 the peer's certificate is not for wrong.example\n"
    assert run(daemon, client, str(web.port), ca, "wrong.example") == (1, expected)


def test_without_the_boundary_there_is_no_such_protocol(client: str, web: Server, ca: str) -> None:
    done = subprocess.run([client, str(web.port), ca, "a"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "socket: 93 \n")  # EPROTONOSUPPORT: never plain text
