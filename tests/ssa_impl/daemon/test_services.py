"""What the sockets of one worker share: numbers, limits, and the way to the other workers."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from ssa_impl.control.channel import close_all, receive_bytes
from ssa_impl.daemon.inner import InnerListener
from ssa_impl.daemon.mail import (
    ALL_OTHERS,
    MAX_POST_BYTES,
    MAX_POST_DESCRIPTORS,
    PARENT,
    Post,
    forwarded,
    split_forward,
)
from ssa_impl.daemon.services import Services
from ssa_impl.errors import LimitError
from ssa_impl.policy.model import DaemonLimits, Profile
from ssa_impl.policy.policy import Policy

Make = Callable[..., Services]


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The worker's and the parent's end of a dispatch socket."""
    worker, parent = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with worker, parent:
        worker.setblocking(False)
        parent.setblocking(False)
        yield worker, parent


@pytest.fixture
def make(tmp_path: Path, ends: tuple[socket.socket, socket.socket]) -> Iterator[Make]:
    listener = InnerListener(tmp_path / "inner")

    def made(index: int = 0, worker_count: int = 2, profile: Profile = Profile()) -> Services:  # noqa: B008
        policy = Policy({"default": profile})
        all_made.append(Services(policy, index, worker_count, tmp_path, listener, ends[0], lambda *_: None))
        return all_made[-1]

    all_made: list[Services] = []
    yield made
    for services in all_made:
        services.ledger.close()
    listener.close()


# -- numbers


def test_no_number_is_given_twice_in_the_whole_daemon(make: Make) -> None:
    numbers = [services.next_number() for services in map(make, range(8)) for _ in range(100)]
    assert len(set(numbers)) == len(numbers)
    assert all(0 < number < 2**64 for number in numbers)


def test_a_number_says_which_worker_gave_it(make: Make) -> None:
    for index in range(3):
        assert make(0, 3).home_of(make(index, 3).next_number()) == index


@given(handle=st.integers(0, 2**64 - 1))
def test_any_number_has_a_home_or_none(handle: int) -> None:
    services = Services(Policy(), 0, 3, Path(), None, None, lambda *_: None)  # type: ignore[arg-type]
    services.ledger.close()
    assert services.home_of(handle) in {0, 1, 2, None}


# -- limits


def test_a_user_has_as_many_sockets_as_the_policy_allows(make: Make) -> None:
    services, two = make(), Profile(sockets_per_user=2)
    for _ in range(2):
        services.ledger.enter(1000)
        services.check_room(1000, two)
    services.check_room(1001, two)
    services.ledger.enter(1000)
    with pytest.raises(LimitError, match="limit of 2 secure sockets for one user") as caught:
        services.check_room(1000, two)
    assert caught.value.errno == errno.ENOBUFS
    services.ledger.leave(1000)
    services.check_room(1000, two)


def test_all_users_together_have_as_many_sockets_as_the_policy_allows(make: Make) -> None:
    services = make()
    services.govern(Policy(daemon=DaemonLimits(sockets=2)))
    for uid in (0, 1000):
        services.ledger.enter(uid)
        services.check_room(uid, Profile())
    services.ledger.enter(1001)
    with pytest.raises(LimitError, match="limit of 2 secure sockets for all users") as caught:
        services.check_room(1001, Profile())
    assert caught.value.errno == errno.ENOBUFS


# -- post


@given(st.integers(0, 2**16 - 1), st.sampled_from(Post), st.binary(max_size=60))
def test_a_message_says_whom_it_is_for(target: int, kind: Post, body: bytes) -> None:
    assert split_forward(forwarded(target, kind, body)) == (target, kind.value + body)


def test_nobody_is_called_like_everybody() -> None:
    assert len({PARENT, ALL_OTHERS, *range(1000)}) == 1002


@pytest.mark.parametrize("kind", Post, ids=lambda kind: kind.name)
def test_no_message_has_more_than_a_worker_takes(kind: Post) -> None:
    assert len(kind.value) == 1
    assert 0 <= kind.descriptors <= MAX_POST_DESCRIPTORS


@pytest.mark.parametrize("target", [0, 7, ALL_OTHERS, PARENT])
def test_a_message_goes_to_the_parent_with_its_descriptors(
    make: Make, ends: tuple[socket.socket, socket.socket], target: int, tmp_path: Path
) -> None:
    (tmp_path / "file").write_bytes(b"content")
    with (tmp_path / "file").open("rb") as file:
        trio.run(make().post, target, Post.CLAIM, b"body", [file.fileno()])
    data, descriptors = receive_bytes(ends[1], MAX_POST_BYTES, MAX_POST_DESCRIPTORS)
    assert split_forward(data) == (target, b"Kbody")
    assert [os.pread(descriptor, 10, 0) for descriptor in descriptors] == [b"content"]
    close_all(descriptors)


def test_an_only_worker_has_nobody_to_write_to_but_the_parent(
    make: Make, ends: tuple[socket.socket, socket.socket]
) -> None:
    async def main() -> None:
        for target in (ALL_OTHERS, 1, PARENT):
            await make(worker_count=1).post(target, Post.KEEP, b"%d" % target)

    trio.run(main)
    assert split_forward(ends[1].recv(100)) == (PARENT, b"S%d" % PARENT)
    with pytest.raises(BlockingIOError):
        ends[1].recv(100)


def test_a_parent_that_has_ended_is_no_failure(make: Make, ends: tuple[socket.socket, socket.socket]) -> None:
    ends[1].close()
    trio.run(make().post, 1, Post.CLAIM)


def test_a_parent_that_is_slow_is_waited_for_and_nothing_is_lost(
    make: Make, ends: tuple[socket.socket, socket.socket]
) -> None:
    count, heard = 3000, []

    async def main() -> None:
        services = make()

        async def write() -> None:
            for number in range(count):
                await services.post(1, Post.PEER, b"%d" % number)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(write)
            await wait_all_tasks_blocked()  # no room is left
            while len(heard) < count:
                await trio.lowlevel.wait_readable(ends[1])
                heard.append(split_forward(ends[1].recv(100)))

    trio.run(main)
    assert heard == [(1, b"P%d" % number) for number in range(count)]
