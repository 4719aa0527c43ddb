"""Everybody's sockets, counted by several workers in one file."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssa_impl.daemon.ledger import COLUMNS, Book, Ledger

NOBODY_IS_LARGER = 0xFFFF_FFFE


@pytest.fixture
def book() -> Iterator[Book]:
    made = Book()
    yield made
    made.close()


def worker(book: Book) -> Ledger:
    return Ledger(os.dup(book.file), book.column())  # closes its copy when nobody has it any more


@given(steps=st.lists(st.tuples(st.integers(0, 2), st.sampled_from([0, 1000, NOBODY_IS_LARGER]), st.booleans())))
def test_what_all_workers_count_is_what_each_of_them_sees(steps: list[tuple[int, int, bool]]) -> None:
    book = Book()
    workers = [worker(book) for _ in range(3)]
    truth: dict[tuple[int, int], int] = {}
    for index, uid, comes in steps:
        if comes:
            workers[index].enter(uid)
        elif truth.get((index, uid), 0):
            workers[index].leave(uid)
        else:
            continue
        truth[index, uid] = truth.get((index, uid), 0) + (1 if comes else -1)
    for seen in workers:
        assert seen.held() == sum(truth.values())
        for asked in (0, 1000, NOBODY_IS_LARGER):
            assert seen.held(asked) == sum(count for (_, uid), count in truth.items() if uid == asked)
    book.close()


def test_a_worker_that_has_ended_has_nothing_and_its_column_is_the_next_ones(book: Book) -> None:
    gone, stays = worker(book), worker(book)
    for uid in (0, 7, NOBODY_IS_LARGER):
        gone.enter(uid)
        stays.enter(uid)
    book.clear(0)
    assert [stays.held(uid) for uid in (0, 7, NOBODY_IS_LARGER)] == [1, 1, 1]
    assert stays.held() == 3
    assert book.column() == 0
    assert book.column() == 2


def test_there_are_as_many_columns_as_fit_into_a_row(book: Book) -> None:
    for _ in range(COLUMNS):
        assert book.has_room_for(1)
        last = worker(book)
    assert not book.has_room_for(1)
    last.enter(5)
    assert (last.held(5), last.held(4), last.held(6)) == (1, 0, 0)


def test_a_user_takes_a_page_and_looking_takes_nothing(book: Book) -> None:
    seen = worker(book)
    assert os.fstat(book.file).st_blocks == 0
    for uid in range(100):
        assert seen.held(uid) == 0
    assert os.fstat(book.file).st_blocks == 0
    seen.enter(1000)
    assert os.fstat(book.file).st_blocks * 512 <= 2 * os.sysconf("SC_PAGESIZE")  # and one for everybody
