"""States of a secure socket and every legal step between them, as data.

Rules:

* An event that the table does not list for a state is refused with the errno of ``REFUSALS`` and changes nothing.
* A blocking connect that fails leads back to ``OPEN``: the application's socket was never connected to anything
  and may try again, as with TCP.  A non-blocking one leads to ``FAILED``: its descriptor had to exist as
  connected-to-be, so it cannot be used again.
* Success is assigned in one place, the event ``ESTABLISHED``, which only the end of all validation emits.
"""

from __future__ import annotations

import errno
from enum import Enum, auto

from ..errors import ApplicationError


class State(Enum):
    """Where a secure socket stands."""

    OPEN = auto()
    CONNECTING = auto()  # blocking: the caller waits
    CONNECTING_ASYNC = auto()  # non-blocking: the caller polls
    CONNECTED = auto()
    LISTENING = auto()
    FAILED = auto()


class Event(Enum):
    """What happens to it."""

    CONNECT = auto()
    CONNECT_ASYNC = auto()
    ESTABLISHED = auto()
    BROKEN = auto()
    BIND = auto()
    LISTEN = auto()


TRANSITIONS: dict[State, dict[Event, State]] = {
    State.OPEN: {
        Event.CONNECT: State.CONNECTING,
        Event.CONNECT_ASYNC: State.CONNECTING_ASYNC,
        Event.BIND: State.OPEN,
        Event.LISTEN: State.LISTENING,
    },
    State.CONNECTING: {Event.ESTABLISHED: State.CONNECTED, Event.BROKEN: State.OPEN},
    State.CONNECTING_ASYNC: {Event.ESTABLISHED: State.CONNECTED, Event.BROKEN: State.FAILED},
    State.CONNECTED: {},
    State.LISTENING: {Event.LISTEN: State.LISTENING},
    State.FAILED: {},
}

_CONNECTING = {
    Event.CONNECT: (errno.EALREADY, "a connect is already under way"),
    Event.CONNECT_ASYNC: (errno.EALREADY, "a connect is already under way"),
    Event.BIND: (errno.EINVAL, "bind after connect"),
    Event.LISTEN: (errno.EOPNOTSUPP, "listen after connect"),
}
_FAILED = (errno.EBADFD, "the handshake failed; close this socket and open another")

REFUSALS: dict[State, dict[Event, tuple[int, str]]] = {
    State.OPEN: {},
    State.CONNECTING: _CONNECTING,
    State.CONNECTING_ASYNC: _CONNECTING,
    State.CONNECTED: {
        Event.CONNECT: (errno.EISCONN, "the socket is connected"),
        Event.CONNECT_ASYNC: (errno.EISCONN, "the socket is connected"),
        Event.BIND: (errno.EINVAL, "bind after connect"),
        Event.LISTEN: (errno.EOPNOTSUPP, "listen after connect"),
    },
    State.LISTENING: {
        Event.CONNECT: (errno.EISCONN, "the socket listens"),
        Event.CONNECT_ASYNC: (errno.EISCONN, "the socket listens"),
        Event.BIND: (errno.EINVAL, "bind after listen"),
    },
    State.FAILED: dict.fromkeys((Event.CONNECT, Event.CONNECT_ASYNC, Event.BIND, Event.LISTEN), _FAILED),
}


def step(state: State, event: Event) -> State:
    """Return the state after ``event``; raise ApplicationError with the errno of the refusal."""
    if (after := TRANSITIONS[state].get(event)) is not None:
        return after
    code, text = REFUSALS[state].get(event, (errno.EOPNOTSUPP, f"{event.name.lower()} is not possible here"))
    raise ApplicationError(text, code)
