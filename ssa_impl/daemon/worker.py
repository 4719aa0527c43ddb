"""A worker: one process, one trio loop, its own contexts; it serves the channels that the parent hands to it.

Started as ``python -m ssa_impl.daemon.worker DISPATCH_FD LEDGER_FD INDEX WORKERS SERIAL COLUMN RUNTIME_DIR``.  It ends
when the parent does, or has what it must serve no more.
"""

from __future__ import annotations

import gc
import logging
import os
import resource
import socket
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import trio

from ..administration.logs import LogOptions, configure, connections
from ..control.channel import close_all, receive_bytes
from ..hardening.children import leave_signals_to_the_parent
from ..hardening.kernel import CannotHarden
from ..hardening.process import harden_worker
from .distribution import unpack
from .hardened import options_of
from .inner import InnerListener, inner_path
from .ledger import Ledger
from .mail import MAX_POST_BYTES, MAX_POST_DESCRIPTORS, READY, Post
from .post import deliver
from .resolver import Lookups
from .services import Services
from .waits import attend

_log = logging.getLogger("ssad")


async def serve(
    dispatch: socket.socket, index: int, worker_count: int, serial: int, runtime: Path, *, ledger: Ledger
) -> None:
    """Do what the post says until the parent closes the dispatch socket; the first thing in it is the policy."""
    listener = InnerListener(inner_path(runtime, os.getpid()))
    dispatch.setblocking(False)
    trio.socket.set_custom_hostname_resolver(Lookups())
    try:
        if (first := await _next_post(dispatch)) is None:
            return
        policy = unpack(first[1][0])
        in_force = harden_worker(options_of(policy, runtime))
        dispatch.send(READY + in_force.to_json())
        async with trio.open_nursery() as nursery:

            def start(serve_one: Callable[..., Awaitable[object]], *arguments: object) -> None:
                nursery.start_soon(_guarded, serve_one, *arguments)

            services = Services(
                policy, index, worker_count, runtime, listener, dispatch, start, serial=serial, ledger=ledger
            )
            while received := await _next_post(dispatch):
                deliver(services, *received)
            nursery.cancel_scope.cancel()
    except BrokenPipeError:
        return  # the parent has ended meanwhile
    finally:
        listener.close()


async def _next_post(dispatch: socket.socket) -> tuple[bytes, list[int]] | None:
    while True:
        try:
            data, descriptors = receive_bytes(dispatch, MAX_POST_BYTES, MAX_POST_DESCRIPTORS)
        except BlockingIOError:
            await trio.lowlevel.wait_readable(dispatch)
            continue
        except ConnectionResetError:  # the parent has hung up without reading our last post
            return None
        if not data:
            close_all(descriptors)
            return None
        if len(descriptors) == Post(data[:1]).descriptors:
            return data, descriptors
        close_all(descriptors)
        _log.error("out of file descriptors: a new socket was refused")


async def _guarded(serve_one: Callable[..., Awaitable[object]], *arguments: object) -> None:
    try:
        await serve_one(*arguments)
    except Exception:
        _log.exception("a defect ended one secure socket; the others go on")


def raise_descriptor_limit() -> None:
    """Use all the descriptors that the hard limit allows: each connection takes three."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main() -> None:
    """Entry point of the worker process."""
    ledger_file, index, worker_count, serial, column = map(int, sys.argv[2:7])
    runtime = Path(sys.argv[7])
    ledger = Ledger(ledger_file, column)
    configure(LogOptions.from_environment(), worker=True, filled=attend)
    leave_signals_to_the_parent()
    raise_descriptor_limit()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)  # a connection leaves little garbage, and looking for it costs
    with socket.socket(fileno=int(sys.argv[1])) as dispatch:
        try:
            trio.run(partial(serve, dispatch, index, worker_count, serial, runtime, ledger=ledger))
        except CannotHarden as why:
            _log.error("%s", why)
            sys.exit(1)
    connections.sum_up()


if __name__ == "__main__":
    main()
