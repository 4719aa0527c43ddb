"""What is said on a control channel: requests of the boundary, one reply of the daemon to each, and two wishes of
the daemon's own to a boundary that watches its channels.

A secure socket has one channel at least.  A process that came by the application's descriptor without its channel
(fork, exec, SCM_RIGHTS) opens another with :class:`Claim`; an accepted socket's channel comes with its greeting.

Replies may come in another order than the requests (a blocking connect waits while another thread asks for an
option), so each carries its request's number.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Hello:
    """The application called socket(); ``pid`` is for the log, identity comes from the kernel.

    ``watches``: the boundary reads its channels at all times, and serves Keep and Reset.  One that does not (a library
    inside the application) sends the application's descriptor along, so that the socket can be claimed by it later.
    """

    request: int
    family: int
    pid: int
    watches: bool = True


@dataclass(frozen=True)
class SetOption:
    """setsockopt().  ``by_file``: the value was a path; what the caller may read there comes along as a memory file."""

    request: int
    level: int
    name: int
    value: bytes
    by_file: bool = False


@dataclass(frozen=True)
class SetByPath:
    """setsockopt() of a certificate chain or a key whose path the caller may not open; ``errno`` says why not.

    The policy may have a key there that the application can use all the same.  ``path`` is absolute.
    """

    request: int
    name: int
    path: bytes
    errno: int


@dataclass(frozen=True)
class GetOption:
    """getsockopt(); ``size`` is the room that the application gives."""

    request: int
    level: int
    name: int
    size: int


@dataclass(frozen=True)
class Bind:
    """bind(); ``address`` is the application's ``sockaddr``."""

    request: int
    address: bytes


@dataclass(frozen=True)
class Connect:
    """connect(); the application's own socket comes along, ``blocking`` as its file status flags say.

    ``address`` is the application's ``sockaddr``, or ``struct sockaddr_host`` (AF_HOSTNAME).
    """

    request: int
    address: bytes
    blocking: bool


@dataclass(frozen=True)
class Listen:
    """listen(); the application's own socket comes along, and becomes a listener of the daemon's making."""

    request: int
    backlog: int


@dataclass(frozen=True)
class Upgrade:
    """setsockopt(TCP_UPGRADE_TLS) on a connected TCP socket; ``hostname`` is the option's value, empty for a server.

    Two descriptors come along: the TCP socket, and the daemon's end of a new unix stream connection, whose other end
    takes the TCP socket's place in the application.  When not ``blocking``, that other end comes third: the daemon
    answers EINPROGRESS and fills it, as with Connect.
    """

    request: int
    hostname: bytes
    blocking: bool


@dataclass(frozen=True)
class Claim:
    """The first message of another channel for a secure socket that exists; its descriptor comes along.

    ENOTSOCK when the daemon knows no secure socket behind that descriptor, or it is another user's.
    """

    request: int


@dataclass(frozen=True)
class AskEnd:
    """After an end of file: errno 0 when it was in order, ECONNRESET when the stream was cut or broke.

    For a boundary that does not watch, and so cannot be asked to reset.
    """

    request: int


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


Request = (
    Hello | SetOption | SetByPath | GetOption | Bind | Connect | Listen | Upgrade | Claim | AskEnd | GetName | Refusal
)
Message = Request | Reply | Reset | Keep
