"""The transition table, both ways: what is in it happens, and what is not in it is refused and changes nothing."""

from __future__ import annotations

import errno
import itertools

import pytest

from ssa_impl.errors import ApplicationError
from ssa_impl.sockets.states import REFUSALS, TRANSITIONS, Event, State, step

O, C, A, E, F = State.OPEN, State.CONNECTING, State.CONNECTING_ASYNC, State.CONNECTED, State.FAILED  # noqa: E741
L = State.LISTENING

EXPECTED: dict[tuple[State, Event], State | int] = {  # written out once more, on purpose
    (O, Event.CONNECT): C,
    (O, Event.CONNECT_ASYNC): A,
    (O, Event.ESTABLISHED): errno.EOPNOTSUPP,
    (O, Event.BROKEN): errno.EOPNOTSUPP,
    (O, Event.BIND): O,
    (C, Event.CONNECT): errno.EALREADY,
    (C, Event.CONNECT_ASYNC): errno.EALREADY,
    (C, Event.ESTABLISHED): E,
    (C, Event.BROKEN): O,
    (C, Event.BIND): errno.EINVAL,
    (A, Event.CONNECT): errno.EALREADY,
    (A, Event.CONNECT_ASYNC): errno.EALREADY,
    (A, Event.ESTABLISHED): E,
    (A, Event.BROKEN): F,
    (A, Event.BIND): errno.EINVAL,
    (E, Event.CONNECT): errno.EISCONN,
    (E, Event.CONNECT_ASYNC): errno.EISCONN,
    (E, Event.ESTABLISHED): errno.EOPNOTSUPP,
    (E, Event.BROKEN): errno.EOPNOTSUPP,
    (E, Event.BIND): errno.EINVAL,
    (F, Event.CONNECT): errno.EBADFD,
    (F, Event.CONNECT_ASYNC): errno.EBADFD,
    (F, Event.ESTABLISHED): errno.EOPNOTSUPP,
    (F, Event.BROKEN): errno.EOPNOTSUPP,
    (F, Event.BIND): errno.EBADFD,
    (L, Event.CONNECT): errno.EISCONN,
    (L, Event.CONNECT_ASYNC): errno.EISCONN,
    (L, Event.ESTABLISHED): errno.EOPNOTSUPP,
    (L, Event.BROKEN): errno.EOPNOTSUPP,
    (L, Event.BIND): errno.EINVAL,
    (O, Event.LISTEN): L,
    (C, Event.LISTEN): errno.EOPNOTSUPP,
    (A, Event.LISTEN): errno.EOPNOTSUPP,
    (E, Event.LISTEN): errno.EOPNOTSUPP,
    (F, Event.LISTEN): errno.EBADFD,
    (L, Event.LISTEN): L,
}


@pytest.mark.parametrize(("state", "event"), list(itertools.product(State, Event)), ids=lambda item: item.name)
def test_every_event_in_every_state(state: State, event: Event) -> None:
    expected = EXPECTED[state, event]
    if isinstance(expected, State):
        assert step(state, event) is expected
    else:
        with pytest.raises(ApplicationError) as caught:
            step(state, event)
        assert caught.value.errno == expected
        assert caught.value.text


def test_tables_cover_every_state_and_never_contradict_each_other() -> None:
    assert set(TRANSITIONS) == set(REFUSALS) == set(State)
    for state in State:
        assert not set(TRANSITIONS[state]) & set(REFUSALS[state])


def test_only_the_end_of_a_handshake_leads_to_connected() -> None:
    into = {(state, event) for state in State for event, after in TRANSITIONS[state].items() if after is E}
    assert into == {(C, Event.ESTABLISHED), (A, Event.ESTABLISHED)}


def test_every_state_can_be_reached_and_connected_and_failed_are_final() -> None:
    reached = {O}
    while grown := {after for state in reached for after in TRANSITIONS[state].values()} - reached:
        reached |= grown
    assert reached == set(State)
    assert TRANSITIONS[E] == TRANSITIONS[F] == {}
