"""What a behaviour is: one sentence that an application may rely on, the program that shows it, and where it holds.

A *program* is a generator that runs as an unmodified application and yields ``(what, value)`` or
``(what, value, expected)``: its *transcript*.  A *peer* is the name of a function in ``peers``, which plays the other
end in the test's own process and returns what it has seen.  A *column* is where a program runs: on plain TCP, or on
secure sockets under one boundary, with a peer that speaks one version of TLS.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

Program = Callable[..., Iterator[tuple[Any, ...]]]

PLAIN = "plain"
BOUNDARIES = ("seccomp", "preload")
TLS_1_2, TLS_1_3 = 0x0303, 0x0304
BOTH = (TLS_1_2, TLS_1_3)
ONCE = (TLS_1_3,)
"""for behaviours in which no handshake takes part"""

GROUPS = {
    "connecting": "Connecting",
    "waiting": "Connecting without blocking",
    "accepting": "Accepting",
    "authenticating": "Who is let in",
    "certificates": "Certificates of a server",
    "options": "Options",
    "negotiating": "What is negotiated",
    "sessions": "Sessions",
    "addresses": "Addresses",
    "data": "Data",
    "endings": "How connections end",
    "descriptors": "Descriptors that travel",
    "wire": "Options of the wire",
    "upgrading": "Upgrading a TCP connection",
    "signals": "Signals",
    "failing": "When the daemon fails",
    "languages": "Event loops",
}
"""the modules of ``behaviours``, in the order of the page, with their headings"""


@dataclass(frozen=True)
class Column:
    """Where a program runs; ``version`` is what its peer speaks, None on plain TCP."""

    boundary: str
    version: int | None

    def __str__(self) -> str:
        names = {None: "", TLS_1_2: "-1.2", TLS_1_3: "-1.3"}
        return self.boundary + names[self.version]


@dataclass(frozen=True)
class Deviation:
    """One entry of a transcript that is known to be another one in ``where`` (a boundary, or plain), and why."""

    where: str
    what: str
    value: object
    reason: str


@dataclass(frozen=True)
class Behaviour:
    """One row of the page."""

    name: str
    sentence: str
    spec: str
    program: Program
    group: str
    arguments: dict[str, Any] = field(default_factory=dict)
    peer: str | None = None
    peer_arguments: dict[str, Any] = field(default_factory=dict)
    seen: dict[str, Any] = field(default_factory=dict)
    role: str = "initiator"
    plain: bool = False
    versions: tuple[int, ...] = BOTH
    own_daemon: bool = False
    deviations: tuple[Deviation, ...] = ()

    def columns(self) -> list[Column]:
        """Return where the behaviour is shown."""
        plain = [Column(PLAIN, None)] if self.plain else []
        return plain + [Column(boundary, version) for boundary in BOUNDARIES for version in self.versions]

    def deviates(self, where: str) -> dict[str, Deviation]:
        """Return what is known to differ at one boundary, by entry."""
        return {deviation.what: deviation for deviation in self.deviations if deviation.where == where}


_registry: dict[str, Behaviour] = {}


def behaviour(name: str, sentence: str, spec: str, **more: Any) -> Callable[[Program], Program]:
    """Declare a behaviour; the decorator may be used more than once on one program, with other arguments."""

    def register(program: Program) -> Program:
        assert name not in _registry, f"two behaviours are called {name}"
        group = program.__module__.rpartition(".")[2]
        _registry[name] = Behaviour(name, sentence, spec, program, group, **more)
        return program

    return register


def in_both_roles(name: str, sentence: str, spec: str, **more: Any) -> Callable[[Program], Program]:
    """Declare a behaviour of connections, for one that was connected and for one that was accepted."""

    def register(program: Program) -> Program:
        behaviour(name, sentence, spec, role="initiator", **more)(program)
        return behaviour(
            f"{name}.accepted", f"On an accepted socket: {_inner(sentence)}", spec, role="acceptor", **more
        )(program)

    return register


def _inner(sentence: str) -> str:
    first = sentence.split(maxsplit=1)[0]
    return sentence if first.isupper() or "(" in first or "_" in first else sentence[0].lower() + sentence[1:]


def behaviours() -> dict[str, Behaviour]:
    """Return all behaviours by name, in the order of the page."""
    for group in GROUPS:
        importlib.import_module(f"tests.conformance.behaviours.{group}")
    return {row.name: row for group in GROUPS for row in _registry.values() if row.group == group}
