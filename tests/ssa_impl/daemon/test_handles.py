"""What TLS_CONTEXT handles stand for: their owners' alone, in room that nobody can take from the others."""

from __future__ import annotations

import pytest

from ssa_impl.daemon.handles import Handles, SharedContext

LARGE = SharedContext(1, ((205, 87, bytes(4 << 20)),))
"""as large as the options of one socket can be"""


def small(uid: int) -> SharedContext:
    return SharedContext(uid, ((205, 85, b"a\0"),))


def test_a_handle_is_its_owners() -> None:
    handles = Handles()
    handles.keep(5, small(1000))
    assert handles.get(5, 1000) == small(1000)
    assert handles.get(5, 1001) is None
    assert handles.get(5, 0) is None
    assert handles.get(6, 1000) is None


def test_the_handles_that_were_kept_last_stay() -> None:
    handles, count = Handles(), 10_000
    for handle in range(count):
        handles.keep(handle, small(1))
        handles.keep(count, small(1))
    kept = [handle for handle, _ in handles]
    assert 1000 < len(kept) < count
    assert kept == list(range(count - len(kept) + 1, count + 1))


@pytest.mark.parametrize("flood", [small(1), LARGE], ids=["many", "large ones"])
def test_a_flood_drives_out_nothing_but_itself(flood: SharedContext) -> None:
    handles = Handles()
    for handle in range(100):
        handles.keep(handle, small(2))
    for handle in range(1000, 6000):
        handles.keep(handle, flood)
    assert all(handles.get(handle, 2) for handle in range(100))
    assert sum(context.counted_bytes for _, context in handles) <= 64 << 20
    assert handles.get(5999, 1) == flood


def test_nothing_is_left_of_who_has_no_handle_any_more() -> None:
    handles = Handles()
    for uid in range(10_000):
        handles.keep(uid, small(uid))
    assert len({context.uid for _, context in handles}) == len(handles._of) == len(handles._bytes) < 10_000
