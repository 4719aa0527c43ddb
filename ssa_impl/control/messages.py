"""What is said on a control channel: requests of the boundary, one reply of the daemon to each, and two wishes of
the daemon's own.

Replies may come in another order than the requests (a blocking connect waits while another thread asks for an
option), so each carries its request's number.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Hello:
    """The application called socket(); ``pid`` is for the log, identity comes from the kernel."""

    request: int
    family: int
    pid: int


@dataclass(frozen=True)
class SetOption:
    """setsockopt().  ``by_file``: the value was a path, and its file comes along, opened with the caller's rights."""

    request: int
    level: int
    name: int
    value: bytes
    by_file: bool = False


@dataclass(frozen=True)
class GetOption:
    """getsockopt(); ``size`` is the room that the application gives."""

    request: int
    level: int
    name: int
    size: int


@dataclass(frozen=True)
class Bind:
    """bind(); ``address`` is the application's sockaddr."""

    request: int
    address: bytes


@dataclass(frozen=True)
class Connect:
    """connect(); the application's own socket comes along, ``blocking`` as its file status flags say."""

    request: int
    address: bytes
    blocking: bool


@dataclass(frozen=True)
class GetName:
    """getsockname() or, with ``peer``, getpeername(); the reply's value is a sockaddr."""

    request: int
    peer: bool


@dataclass(frozen=True)
class Refusal:
    """The boundary itself had to refuse a call (a file that cannot be opened): remembered as TLS_ERROR."""

    request: int
    errno: int
    text: str


@dataclass(frozen=True)
class Reply:
    """The daemon's answer: ``errno`` 0 for success.  That to a successful connect brings what Keep brings."""

    request: int
    errno: int
    value: bytes = b""


@dataclass(frozen=True)
class Reset:
    """The daemon's request: let the application's next end of file be an error.

    A unix socket has no reset, but closing one end with something unread gives the other ECONNRESET.  The boundary
    writes one byte on the application's behalf, and replies; the daemon then closes its end with the byte unread.
    """

    request: int = 0


@dataclass(frozen=True)
class Keep:
    """The daemon's end of the application's connection comes along, for the boundary to keep while the channel lasts.

    With a copy kept, a daemon that dies is no end of file for the application: the boundary sees the channel end, and
    resets the application's connection itself.
    """

    request: int = 0


Request = Hello | SetOption | GetOption | Bind | Connect | GetName | Refusal
Message = Request | Reply | Reset | Keep
