"""What travels on the dispatch sockets between the parent and its workers: kinds, sizes, addresses.

A worker's message to another one begins with the number of that worker; the parent takes the number off and passes the
rest on.
"""

from __future__ import annotations

import struct
from enum import Enum

_FORWARD = struct.Struct("<H")


class Post(bytes, Enum):
    """What travels on a dispatch socket, by its first byte; descriptors come along."""

    CHANNEL = b"+"  # a new secure socket's channel
    MOVED = b"M"  # a socket that belongs with another worker: transcript, channel, wire
    LISTENER = b"L"  # a listener to take peers from: transcript, wire, lifeline
    NEWCOMER = b"N"  # from the parent: number of a worker that is ready: give it your listeners
    CONTEXTS = b"X"  # from a worker that retires to its successor: what TLS_CONTEXT handles stand for
    EVIDENCE = b"E"  # from a worker that has a successor: a peer to judge: evidence, where to say what came of it
    UNKNOWN = b"U"  # from the parent: a claim comes back, since no worker knows the socket
    CLAIM = b"K"  # a channel that looks for its socket: request and hops; channel, application's descriptor
    KEEPER = b"Y"  # from the parent: a socket to the keeper of the policy's keys
    POLICY = b"R"  # from the parent: number of the question, 0 to adopt it at once, b"1" to stay under it; the policy
    ASK = b"?"  # from the parent: number of the question, which one, its parameter
    ANSWER = b"!"  # to the parent: number of the question; the answer
    IDENTIFY = b"I"  # to the parent: whose is a socket: number, pid, uid of the channel's other end
    IDENTIFIED = b"i"  # from the parent: number, application or why it cannot be said

    PEER = b"P"  # a listener's name; a peer whose address makes it this worker's
    KEEP = b"S"  # to the parent: keep a TLS session: digest, until when, session
    TAKE = b"T"  # to the parent: give one away: digest, number of the request
    TAKEN = b"t"  # from the parent: number of the request, session or nothing

    @property
    def descriptors(self) -> int:
        """How many descriptors come along."""
        return _DESCRIPTORS.get(self, 0)


_DESCRIPTORS = {
    Post.CHANNEL: 1,
    Post.MOVED: 3,
    Post.LISTENER: 3,
    Post.CLAIM: 2,
    Post.UNKNOWN: 2,
    Post.EVIDENCE: 2,
    Post.CONTEXTS: 1,
    Post.POLICY: 1,
    Post.ANSWER: 1,
    Post.PEER: 1,
    Post.KEEPER: 1,
}


BETWEEN_WORKERS = frozenset({Post.MOVED, Post.LISTENER, Post.PEER, Post.CLAIM})
TO_SUCCESSORS = frozenset({Post.CONTEXTS, Post.EVIDENCE})
"""what the parent carries from worker to worker; all else is the parent's own to say, the policy above all"""


class Ask(bytes, Enum):
    """What the parent asks a worker."""

    PING = b"p"  # are you there
    COMMIT = b"c"  # let the policy that was prepared hold; parameter: b"1" to end the connections it forbids
    ABORT = b"a"  # forget the policy that was prepared
    RETIRE = b"r"  # hand on what can be handed on, and answer once nothing is left
    DRAIN = b"d"  # end when the last connection has ended
    STATUS = b"s"  # how many sockets there are
    SESSIONS = b"l"  # what they are; parameter: uid, or empty for all
    METRICS = b"m"  # what was counted


READY = b"ready"
"""a worker's first word"""
MAX_POST_BYTES = 65_536
MAX_POST_DESCRIPTORS = 3
RETIRED = 0xFFFD
"""a claim: the next worker of those that have retired"""
PARENT = 0xFFFE
ALL_OTHERS = 0xFFFF


def forwarded(target: int, kind: Post, body: bytes) -> bytes:
    """Return a message for another worker, ALL_OTHERS, or the PARENT."""
    return _FORWARD.pack(target) + kind.value + body


def split_forward(data: bytes) -> tuple[int, bytes]:
    """Return the worker that a message is for, and the message."""
    return _FORWARD.unpack_from(data)[0], data[_FORWARD.size :]
