"""Names whose lookup hangs: whom they hold up, and for how long."""

from __future__ import annotations

import errno
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
import trio
import trio.testing

from ssa_impl.daemon.resolver import LOOKUPS, LOOKUPS_PER_USER, Lookups, resolve_host
from ssa_impl.errors import NetworkError

ADDRESS = ("192.0.2.1", 443)


class Names:
    """A system's resolver that never says where hang.test is, until it is let go."""

    def __init__(self) -> None:
        self._go = threading.Event()
        self.hanging = 0

    def getaddrinfo(self, host: bytes, *more: Any) -> list[tuple[int, int, int, str, tuple[str, int]]]:
        if more[-1] & socket.AI_NUMERICHOST:
            raise socket.gaierror(socket.EAI_NONAME, "no address")
        if host == b"hang.test":
            self.hanging += 1
            self._go.wait()
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ADDRESS)]

    def let_go(self) -> None:
        self._go.set()


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Iterator[Names]:
    made = Names()
    monkeypatch.setattr(socket, "getaddrinfo", made.getaddrinfo)
    yield made
    made.let_go()


def play(scene: Callable[[trio.Nursery, trio.testing.MockClock], Awaitable[None]]) -> None:
    clock = trio.testing.MockClock()

    async def main() -> None:
        trio.socket.set_custom_hostname_resolver(Lookups())
        async with trio.open_nursery() as nursery:
            await scene(nursery, clock)
            nursery.cancel_scope.cancel()

    trio.run(main, clock=clock)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for threads, which the clock of a test knows nothing of."""
    while not condition():
        await trio.lowlevel.checkpoint()


async def found(uid: int) -> list[tuple[int, Any]]:
    return await resolve_host(uid, b"there.test\0", 443)


def test_one_user_s_hanging_names_hold_up_no_other_user_and_no_other_thread(names: Names) -> None:
    async def scene(nursery: trio.Nursery, _: trio.testing.MockClock) -> None:
        for _number in range(100):
            nursery.start_soon(resolve_host, 1, b"hang.test\0", 443)
        await until(lambda: names.hanging == LOOKUPS_PER_USER)
        await trio.testing.wait_all_tasks_blocked()
        assert names.hanging == LOOKUPS_PER_USER
        assert await found(2) == [(socket.AF_INET, ADDRESS)]
        assert trio.to_thread.current_default_thread_limiter().borrowed_tokens == 0
        names.let_go()
        await until(lambda: names.hanging == 100)

    play(scene)


def test_all_users_hanging_names_together_are_bounded_too(names: Names) -> None:
    async def scene(nursery: trio.Nursery, _: trio.testing.MockClock) -> None:
        for number in range(2 * LOOKUPS):
            nursery.start_soon(resolve_host, number, b"hang.test\0", 443)
        await until(lambda: names.hanging == LOOKUPS)
        await trio.testing.wait_all_tasks_blocked()
        assert names.hanging == LOOKUPS
        assert trio.to_thread.current_default_thread_limiter().borrowed_tokens == 0
        names.let_go()

    play(scene)


def test_a_name_that_hangs_is_given_up_and_its_thread_counts_until_it_has_ended(names: Names) -> None:
    failures: list[NetworkError] = []

    async def fail() -> None:
        with pytest.raises(NetworkError, match=r"cannot resolve hang\.test within 30 s") as caught:
            await resolve_host(1, b"hang.test\0", 443)
        failures.append(caught.value)

    async def scene(nursery: trio.Nursery, clock: trio.testing.MockClock) -> None:
        for _ in range(2):
            for _number in range(LOOKUPS_PER_USER):
                nursery.start_soon(fail)
            await until(lambda: names.hanging == LOOKUPS_PER_USER)
            await trio.testing.wait_all_tasks_blocked()
            clock.jump(30)
            await trio.testing.wait_all_tasks_blocked()
        assert [failure.errno for failure in failures] == 2 * LOOKUPS_PER_USER * [errno.EAGAIN]
        assert names.hanging == LOOKUPS_PER_USER
        names.let_go()
        assert await found(1) == [(socket.AF_INET, ADDRESS)]

    play(scene)
