"""What workers keep for initiators to resume, in a file that all of them share."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssa_impl.daemon.resumption import _HEAD, PLACE_BYTES, PLACES, ROWS, Sessions, _room, _row_of
from ssa_impl.tls.sessions import DIGEST_BYTES, Resumable

KEY, OTHER = (b"rr" + name.ljust(DIGEST_BYTES - 2) for name in (b"mine", b"other"))
"""of one row"""
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def sessions() -> Iterator[Sessions]:
    made = Sessions()
    yield made
    made.close()


def numbered(number: int) -> Resumable:
    return Resumable(b"session %d" % number, b"chain %d" % number)


def of_size(size_bytes: int) -> Resumable:
    """Return a session that takes so much room."""
    return Resumable(b"", bytes(size_bytes - len(Resumable(b"", b"").to_bytes())))


def all_of(sessions: Sessions, key: bytes = KEY, now_s: float = 0) -> list[Resumable]:
    return list(iter(lambda: sessions.take(key, now_s), None))


def test_the_newest_session_of_a_key_comes_first_and_each_comes_once(sessions: Sessions) -> None:
    for number in range(3):
        sessions.keep(KEY, numbered(number), 10 + number)
    assert all_of(sessions) == [numbered(2), numbered(1), numbered(0)]


def test_keys_of_one_row_do_not_share(sessions: Sessions) -> None:
    sessions.keep(KEY, numbered(1), 10)
    assert sessions.take(OTHER, 0) is None
    assert sessions.take(KEY, 0) == numbered(1)


@pytest.mark.parametrize(("now_s", "given"), [(9.9, numbered(1)), (10, None), (11, None)])
def test_a_session_is_good_until_its_time(sessions: Sessions, now_s: float, given: Resumable | None) -> None:
    sessions.keep(KEY, numbered(1), 10)
    assert sessions.take(KEY, now_s) == given


def test_in_a_row_that_is_full_the_one_that_ends_first_gives_way(sessions: Sessions) -> None:
    sessions.keep(OTHER, numbered(0), 5)
    for number in range(PLACES + 2):
        sessions.keep(KEY, numbered(number), 10 + number)
    assert sessions.take(OTHER, 0) is None
    assert all_of(sessions) == [numbered(number) for number in range(PLACES + 1, 1, -1)]


def test_peers_say_how_large_a_session_is_and_there_is_room_for_so_much(sessions: Sessions) -> None:
    sessions.keep(KEY, of_size(PLACE_BYTES), 10)
    sessions.keep(KEY, of_size(PLACE_BYTES + 1), 11)
    assert all_of(sessions) == [of_size(PLACE_BYTES)]


def test_all_that_can_be_kept_is_bounded_and_none_is_in_anothers_room() -> None:
    file = os.memfd_create("test")
    sessions = Sessions(file)
    keys = [row.to_bytes(2, "little").ljust(DIGEST_BYTES) for row in (0, 1, ROWS - 1)]
    for number, key in enumerate(keys):
        for _ in range(PLACES):
            sessions.keep(key, Resumable(b"%d" % number * 100, of_size(PLACE_BYTES - 100).chain_pem), 10)
    assert 64 << 20 < os.fstat(file).st_size < 65 << 20
    assert os.fstat(file).st_blocks * 512 < 1 << 20  # as much as is kept
    for number, key in enumerate(keys):
        assert [one.session for one in all_of(sessions, key)] == [b"%d" % number * 100] * PLACES
    sessions.close()


def test_what_is_forgotten_is_in_no_memory() -> None:
    file = os.memfd_create("test")
    sessions = Sessions(file)
    sessions.keep(KEY, numbered(1), 10)
    sessions.forget()
    assert os.fstat(file).st_blocks == 0
    assert sessions.take(KEY, 0) is None
    sessions.keep(KEY, numbered(2), 10)
    assert all_of(sessions) == [numbered(2)]
    sessions.close()


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 20), st.booleans()), max_size=60))
def test_nothing_is_given_twice_late_or_to_another(calls: list[tuple[int, int, bool]]) -> None:
    sessions, kept = Sessions(), {}
    for now_s, (number, lasting_s, keeping) in enumerate(calls):
        key = b"r%d" % (number % 2) + b"%d".ljust(DIGEST_BYTES - 2) % number
        if keeping:
            kept[numbered(now_s)] = (key, now_s + lasting_s)
            sessions.keep(key, numbered(now_s), now_s + lasting_s)
        elif (session := sessions.take(key, now_s)) is not None:
            owner, until_s = kept.pop(session)
            assert owner == key
            assert now_s < until_s
    sessions.close()


@pytest.mark.parametrize("written", range(3))
def test_a_worker_that_ends_while_it_keeps_leaves_nothing_in_part(
    sessions: Sessions, monkeypatch: pytest.MonkeyPatch, written: int
) -> None:
    for number in range(PLACES):
        sessions.keep(KEY, numbered(number), 10 + number)
    left, write = iter(range(written)), os.pwrite

    def write_until_killed(file: int, data: bytes, offset: int) -> int:
        if next(left, None) is None:
            raise SystemExit
        return write(file, data, offset)

    with monkeypatch.context() as patches:
        patches.setattr(os, "pwrite", write_until_killed)
        with pytest.raises(SystemExit):
            sessions.keep(KEY, Resumable(b"longer than those before", b"chain" * 100), 100)
    assert all_of(sessions) == [numbered(number) for number in range(PLACES - 1, -1 if written == 0 else 0, -1)]


@given(st.binary(max_size=30), st.integers(0, 0xFFFF_FFFF), st.floats())
def test_whatever_a_worker_that_was_taken_over_writes_the_others_go_on(
    content: bytes, size: int, until_s: float
) -> None:
    file = os.memfd_create("test")
    sessions = Sessions(file)
    row = _row_of(KEY)
    for place in range(PLACES):
        sessions._set_head(row, place, _HEAD.pack(KEY, until_s, size))
        os.pwrite(file, content, _room(row, place))
    for _ in range(PLACES + 1):
        assert (found := sessions.take(KEY, 0)) is None or len(found.session + found.chain_pem) <= PLACE_BYTES
    sessions.keep(KEY, numbered(1), 10)
    sessions.close()


# -- several processes

WORKER = """
import os, sys
from ssa_impl.daemon.resumption import Sessions, _row_of
from tests.ssa_impl.daemon.test_resumption import KEY, numbered, spread
sessions = Sessions(int(sys.argv[1]))
"""
TAKER = (
    WORKER
    + """
sys.stdin.read(1)  # all of them at once
for key in spread():
    for _ in range(8):
        if (session := sessions.take(key, 0)) is not None:
            print(session.session.decode())
"""
)
STOPPER = (
    WORKER
    + """
print(sessions._lock(_row_of(KEY)), flush=True)
sys.stdin.read()
"""
)


def spread() -> list[bytes]:
    return [row.to_bytes(2, "little").ljust(DIGEST_BYTES) for row in range(ROWS)]


def started(script: str, file: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, str(file)],
        pass_fds=[file],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_however_many_workers_take_each_session_is_given_once() -> None:
    file = os.memfd_create("test")
    sessions = Sessions(file)
    for number, key in enumerate(spread() * PLACES):
        sessions.keep(key, numbered(number), 10)
    takers = [started(TAKER, file) for _ in range(4)]
    for taker in takers:
        assert taker.stdin is not None
        taker.stdin.write("x")
        taker.stdin.flush()
    taken = [line for taker in takers for line in taker.communicate()[0].splitlines()]
    assert [taker.returncode for taker in takers] == [0] * 4
    taken += [session.session.decode() for key in spread() for session in all_of(sessions, key)]
    assert sorted(taken) == sorted(f"session {number}" for number in range(ROWS * PLACES))
    sessions.close()


def test_nobody_waits_for_a_worker_that_was_stopped_and_one_that_ended_holds_nothing() -> None:
    file = os.memfd_create("test")
    sessions = Sessions(file)
    sessions.keep(KEY, numbered(1), 10)
    with started(STOPPER, file) as stopper:
        assert stopper.stdout is not None
        assert stopper.stdout.readline() == "True\n"
        assert sessions.take(KEY, 0) is None
        sessions.keep(KEY, numbered(2), 11)
        stopper.send_signal(signal.SIGKILL)
    assert all_of(sessions) == [numbered(1)]
    sessions.close()
