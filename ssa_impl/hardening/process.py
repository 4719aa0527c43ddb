"""Giving up, in the right order, what a process of the daemon does not need; and saying what is in force.

The order matters: no_new_privs comes before Landlock and the filter, which need it, and the filter last, since nothing
after it may need what it refuses.
"""

from __future__ import annotations

import json
import os
import resource
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from . import capabilities, filter, kernel, landlock, places  # noqa: A004
from .kernel import CannotHarden

TRACEABLE = "SSAD_TRACEABLE"
"""environment: 1 leaves workers open to debuggers and profilers of their own user"""


@dataclass(frozen=True)
class HardeningOptions:
    """What a worker needs beside the common things, and what must not be missing."""

    runtime: Path
    """the daemon's private directory, where the worker makes unix sockets"""
    read_paths: tuple[Path, ...] = ()
    write_paths: tuple[Path, ...] = ()
    """directories to make files in, and files that are there"""
    require_landlock: bool = False
    traceable: bool = False


@dataclass(frozen=True)
class Hardening:
    """What is in force in one process."""

    uid: int
    capabilities: tuple[str, ...]
    landlock_abi: int = 0
    """0: Landlock is not in force"""
    filtered: bool = False
    """whether a seccomp filter is in force"""
    traceable: bool = False
    missing: tuple[str, ...] = ()
    """what this kernel or this process could not give, a sentence each"""

    def describe(self) -> str:
        """Return one line for people."""
        rights = ", ".join(self.capabilities) or "no capabilities"
        files = f"Landlock {self.landlock_abi}" if self.landlock_abi else "no Landlock"
        calls = "seccomp filter" if self.filtered else "no seccomp filter"
        memory = "traceable" if self.traceable else "not traceable"
        missing = "".join(f"; {sentence}" for sentence in self.missing)
        return f"user {self.uid}, {rights}, no new privileges, {memory}, {files}, {calls}{missing}"

    def to_json(self) -> bytes:
        """Return what :meth:`from_json` reads."""
        return json.dumps(asdict(self)).encode("ascii")

    @classmethod
    def from_json(cls, text: bytes) -> Hardening:
        """Return what another process said of itself."""
        fields = json.loads(text)
        return cls(**{**fields, "capabilities": tuple(fields["capabilities"]), "missing": tuple(fields["missing"])})


NOTHING = Hardening(0, (), missing=("nothing has been given up yet",), traceable=True)
"""what a process is before it has said anything"""


def harden_worker(options: HardeningOptions) -> Hardening:
    """Leave a worker with what it needs to serve secure sockets, before it has a second thread.

    Raises CannotHarden when something that every kernel has cannot be given up, or Landlock is required and missing.
    """
    reach = _reach(options)
    kept = _give_up(capabilities.WORKER, traceable=options.traceable)
    missing: list[str] = []
    version = _attempt(lambda: landlock.restrict(reach), missing, required=options.require_landlock)
    filtered = _attempt(_filter, missing, required=False)
    return Hardening(os.geteuid(), kept, version, bool(filtered), options.traceable, tuple(missing))


def harden_parent(*, traceable: bool) -> Hardening:
    """Leave the parent with what it does itself and gives to workers and keeper.  Raises CannotHarden.

    It starts programs and reads the policy's files, so neither filter nor Landlock is for it.
    """
    return Hardening(
        os.geteuid(), _give_up(capabilities.PARENT, traceable=traceable, to_children=True), traceable=traceable
    )


def is_traceable() -> bool:
    """Whether the environment asks for processes that debuggers and profilers of their own user can look into."""
    return os.environ.get(TRACEABLE) == "1"


def harden_keeper() -> Hardening:
    """Leave the keeper of keys with reading files, also those that only their owner may read.  Raises CannotHarden."""
    return Hardening(os.geteuid(), _give_up(capabilities.KEEPER, traceable=False))


def check(*, require_landlock: bool) -> None:
    """Raise CannotHarden when a worker could not start with this demand."""
    if require_landlock and not landlock.abi():
        raise CannotHarden("the policy requires Landlock (daemon.require_landlock), and this kernel has none")


def _give_up(
    kept: dict[capabilities.Capability, str], *, traceable: bool, to_children: bool = False
) -> tuple[str, ...]:
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        held = capabilities.keep_only(kept, to_children=to_children)
        kernel.gain_nothing_by_exec()
        if not traceable:
            kernel.hide_memory()
    except OSError as error:
        raise CannotHarden(f"this process cannot be hardened: {error.strerror}") from None
    return tuple(sorted(capability.name for capability in held))


def _reach(options: HardeningOptions) -> list[tuple[Path, landlock.Access]]:
    readable = (*places.code(), *places.names(), *places.trust_store(), *options.read_paths)
    return [
        *((place, landlock.READ) for place in readable),
        *((place, landlock.WRITE) for place in options.write_paths),
        (options.runtime, landlock.SOCKETS),
    ]


def _filter() -> int:
    filter.install()
    return 1


def _attempt(step: Callable[[], int], missing: list[str], *, required: bool) -> int:
    try:
        return step()
    except CannotHarden as why:
        if required:
            raise
        missing.append(str(why))
        return 0
