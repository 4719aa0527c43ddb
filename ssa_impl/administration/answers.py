"""What the daemon answers, one dataclass for each command.

Times are Unix times in seconds, TLS versions are words such as ``TLSv1.3``, and "" says that there is nothing to say.
A field that is added gets a default, so that ``ssactl`` and a daemon of another version understand each other.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class WorkerStatus:
    """One worker process."""

    index: int
    pid: int
    """0 while there is none"""
    state: str
    """``ready``, ``starting``, ``silent`` (it did not answer in time) or ``retired`` (it serves only what it has)"""
    sockets: int = 0
    """secure sockets open, connected or not"""
    restarts: int = 0


@dataclass(frozen=True)
class PolicyStatus:
    """The policy in force."""

    files: tuple[str, ...] = ()
    """in the order in which they were read; () for the packaged default alone"""
    loaded_at_s: float = 0.0
    profiles: int = 1
    failure: str = ""
    """why the last reload was refused, "" when it was not"""


@dataclass(frozen=True)
class Status:
    """Answer of ``status``."""

    version: str
    pid: int
    user: str
    socket: str
    started_at_s: float
    openssl: str
    draining: bool = False
    workers: tuple[WorkerStatus, ...] = ()
    policy: PolicyStatus = PolicyStatus()
    hardening: tuple[str, ...] = ()
    """what is in force, one short sentence each"""


@dataclass(frozen=True)
class SessionStatus:
    """One secure socket.  Names and addresses, never what is carried."""

    id: int
    """TLS_ID; every line of the log about this socket has it"""
    uid: int
    pid: int
    """who opened it; the descriptor may have gone elsewhere since"""
    profile: str
    state: str
    """as in the transition table: ``unconnected``, ``connected``, ..."""
    role: str = ""
    """``initiator``, ``acceptor``, "" before that is decided"""
    executable: str = ""
    hostname: str = ""
    """the name that the peer proved, or was asked for"""
    peer: str = ""
    """address and port"""
    version: str = ""
    cipher: str = ""
    received_bytes: int = 0
    """plain text from the peer to the application"""
    sent_bytes: int = 0
    """plain text from the application to the peer"""
    opened_at_s: float = 0.0
    worker: int = 0
    votes: tuple[str, ...] = ()
    """how the policy's strategies voted on the peer of an open connection, () where none was asked"""


@dataclass(frozen=True)
class Sessions:
    """Answer of ``sessions``: the oldest ones first, as many as were asked for."""

    sessions: tuple[SessionStatus, ...] = ()
    total: int = 0


@dataclass(frozen=True)
class ProfileStatus:
    """One profile of the policy in force."""

    name: str
    versions: str
    """lowest and highest, such as ``TLSv1.2-TLSv1.3``"""
    trust: str = ""
    """which trust store, and whether applications may bring anchors of their own"""
    validation: str = ""
    """strategies, necessary ones first"""
    applications: tuple[str, ...] = ()
    """the rules that lead to this profile, in words"""
    sockets: int = 0


@dataclass(frozen=True)
class Profiles:
    """Answer of ``profiles``."""

    profiles: tuple[ProfileStatus, ...] = ()


@dataclass(frozen=True)
class Value:
    """One setting of a profile and where it comes from (file and line, or ``packaged default``)."""

    key: str
    value: str
    origin: str


@dataclass(frozen=True)
class Explanation:
    """Answer of ``explain``: what applies to one application, and why."""

    application: str
    """executable, user, groups and cgroup that were looked at, in words"""
    profile: str
    rule: str
    """the rule that chose the profile and where it stands"""
    values: tuple[Value, ...] = ()
    strategies: tuple[str, ...] = ()
    """how a peer is judged, one line for each strategy"""
    sessions: tuple[SessionStatus, ...] = ()
    """the secure sockets that a process has opened, where one was asked about"""


@dataclass(frozen=True)
class Reloaded:
    """Answer of ``reload``; that it was refused is a refusal, not an answer."""

    files: tuple[str, ...] = ()
    profiles: int = 1
    closed: int = 0
    """connections that ``--enforce`` has ended"""


@dataclass(frozen=True)
class Drained:
    """Answer of ``drain``: no new sockets from now on; the daemon ends with its last connection."""

    connections: int


@dataclass(frozen=True)
class Metrics:
    """Answer of ``metrics``."""

    text: str
    """OpenMetrics 1.0"""


Answer = Status | Sessions | Profiles | Explanation | Reloaded | Drained | Metrics
