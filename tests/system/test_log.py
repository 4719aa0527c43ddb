"""The log goes to a pipe that nobody reads: nobody's connection waits for that, and nothing is lost that was kept."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator

import pytest

from ssa_impl.administration.answers import Reloaded
from ssa_impl.administration.client import admin_path, ask
from ssa_impl.administration.protocol import Command, ReloadWanted
from tests.system.daemons import Daemon, Zygote
from tests.system.servers import Server, hold, serving, tls
from tests.system.waiting import eventually


class Unread(Daemon):
    """A daemon whose log is a pipe, full before its first line, and read only when it is asked for."""

    def __init__(self, workers: int) -> None:
        self._reading, writing = os.pipe()
        os.set_blocking(self._reading, False)
        self._heard = b""
        self.fill()
        super().__init__(workers, log=os.fdopen(writing, "w"))

    def fill(self) -> None:
        """Leave no room; with a description of the pipe that is no other's."""
        writing = os.open(f"/proc/self/fd/{self._reading}", os.O_WRONLY | os.O_NONBLOCK)
        try:
            while True:
                os.write(writing, b"\n")
        except BlockingIOError:
            os.close(writing)

    def log(self) -> str:
        """Read what is there now; return all that was read."""
        try:
            while more := os.read(self._reading, 1 << 16):
                self._heard += more
        except BlockingIOError:
            pass
        return "\n".join(filter(None, self._heard.decode().splitlines()))

    def close(self) -> None:
        super().close()
        os.close(self._reading)


@pytest.fixture
def unread() -> Iterator[Unread]:
    daemon = Unread(2)
    yield daemon
    if daemon.process.poll() is None:
        daemon.stop()
    daemon.close()


def test_a_log_that_nobody_reads_stops_nobody(
    unread: Unread, start_zygote: Callable[[Daemon], Zygote], web: Server, ca: str
) -> None:
    zygote = start_zygote(unread)
    for _ in range(4):  # each worker has something to say twice
        got = zygote.run("fail_then_retry", port=web.port, ca=ca, name="other.test", good_port=web.port)
        assert got["retry"] == ""
    answer = ask(admin_path(unread.path), Command("reload", ReloadWanted(False)))
    assert isinstance(answer, Reloaded)
    eventually(lambda: unread.log().count("name=other.test") == 4 and "another policy is in force" in unread.log())
    said = re.findall(r"^ssad\[(\d+)\]: .*name=other.test", unread.log(), re.MULTILINE)
    assert sorted(map(int, said)) == sorted(2 * unread.workers)
    unread.fill()
    assert unread.stop() == 0


def test_each_connection_that_the_end_breaks_has_a_line_or_is_counted(
    start_zygote: Callable[[Daemon], Zygote], ca: str
) -> None:
    daemon = Daemon(1, None, "--log-format", "json", "--drain-timeout", "0.01")
    program = start_zygote(daemon)
    with serving(tls(hold)) as server:
        many = program.start("hold_many", port=server.port, ca=ca, count=150)
        many.hear()
        assert daemon.stop() == 0
        assert many.result() == 150
    lines = [line for line in map(json.loads, daemon.log().splitlines()) if line["event"] == "broken"]
    assert {line["msg"] for line in lines} == {"the daemon ended it", "the last lines were left out"}
    assert len(lines) + sum(line.get("suppressed", 0) for line in lines) - 1 == 150
    daemon.close()
