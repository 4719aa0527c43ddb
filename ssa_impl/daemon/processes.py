"""One worker's process as its parent sees it: started, heard for the first time, given post, ended."""

from __future__ import annotations

import os
import socket
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import trio

from ..hardening.children import start_module
from ..hardening.process import NOTHING, Hardening
from ..policy.policy import Policy
from .hardened import Reach
from .ledger import Book
from .mail import MAX_POST_BYTES, READY

_GRACE_S = 5.0
_MALLOC = {"MALLOC_TRIM_THRESHOLD_": str(64 << 20), "MALLOC_MMAP_THRESHOLD_": str(4 << 20)}
"""glibc (mallopt(3)): keep freed buffers instead of giving them back to the kernel with each connection"""


@dataclass(eq=False)
class Worker:
    """One process; ``policy`` is the one it was given last, ``hardening`` what it has given up."""

    index: int
    """its place; whoever succeeds it has the same"""
    serial: int
    """which start of all this was: no two workers have the same"""
    process: subprocess.Popen[bytes]
    dispatch: socket.socket
    column: int
    """what it counts its sockets in (``ledger``)"""
    policy: Policy | None = None
    hardening: Hardening = NOTHING
    reach: Reach = frozenset()
    """the files that it was let reach, as they were then"""
    retired: bool = False
    """whether it has a successor, and serves only what it has"""
    serving: trio.CancelScope = field(default_factory=trio.CancelScope)


def start(index: int, serial: int, worker_count: int, runtime: Path, book: Book, *, sessions: int) -> Worker:
    """Start a process; its first post must be the policy.  ``book`` is where it counts its sockets,
    ``sessions`` the file where it keeps what initiators can resume.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        ours.setblocking(False)
        column = book.column()
        arguments = [*map(str, (index, worker_count, serial, column)), str(runtime)]
        process = start_module("ssa_impl.daemon.worker", [theirs.fileno(), book.file, sessions], arguments, _MALLOC)
    return Worker(index, serial, process, ours, column)


async def is_ready(worker: Worker) -> bool:
    """Wait for its first word; False when it ended without."""
    while True:
        try:
            said = worker.dispatch.recv(MAX_POST_BYTES)
        except BlockingIOError:
            await trio.lowlevel.wait_readable(worker.dispatch)
        except ConnectionError:
            return False
        else:
            if said.startswith(READY):
                worker.hardening = Hardening.from_json(said.removeprefix(READY))
            return said.startswith(READY)


async def offer(dispatch: socket.socket, message: bytes, descriptors: list[int]) -> bool:
    """Send now; False when the worker does not read, or has ended."""
    try:
        socket.send_fds(dispatch, [message], descriptors, socket.MSG_NOSIGNAL)
    except OSError:
        return False
    return True


async def give(dispatch: socket.socket, message: bytes, descriptors: list[int]) -> bool:
    """Send when the worker reads; False when it has ended."""
    while True:
        try:
            socket.send_fds(dispatch, [message], descriptors, socket.MSG_NOSIGNAL)
        except BlockingIOError:
            await trio.lowlevel.wait_writable(dispatch)
        except OSError:
            return False
        else:
            return True


async def gone(process: subprocess.Popen[bytes]) -> None:
    """Return when a process has ended."""
    descriptor = os.pidfd_open(process.pid)
    try:
        await trio.lowlevel.wait_readable(descriptor)
    finally:
        os.close(descriptor)
    process.wait()


async def end(worker: Worker) -> None:
    """Close the dispatch socket, which a worker takes as its end; kill it if it does not end."""
    worker.dispatch.close()
    if worker.process.poll() is None:
        with trio.move_on_after(_GRACE_S):
            await gone(worker.process)
        worker.process.kill()
        worker.process.wait()
