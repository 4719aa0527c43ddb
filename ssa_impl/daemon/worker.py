"""A worker: one process, one trio loop, its own contexts; it serves the channels that the parent hands to it.

Started as ``python -m ssa_impl.daemon.worker DISPATCH_FD INDEX RUNTIME_DIR``.  It ends when the parent does.
"""

from __future__ import annotations

import gc
import itertools
import logging
import os
import resource
import signal
import socket
import sys
from pathlib import Path

import trio

from ..control.channel import close_all
from ..control.daemon_channel import DaemonChannel
from ..policy.model import Policy
from .inner import InnerListener
from .session import Session

_log = logging.getLogger("ssad")
_NUMBERS_PER_WORKER = 1 << 48


async def serve(dispatch: socket.socket, index: int, runtime: Path) -> None:
    """Take channels until the parent closes the dispatch socket."""
    listener = InnerListener(runtime / f"worker-{os.getpid()}.inner")
    numbers = itertools.count(index * _NUMBERS_PER_WORKER + 1)
    dispatch.setblocking(False)
    try:
        dispatch.send(b"ready")
        async with trio.open_nursery() as nursery:
            while channels := await _next_channels(dispatch):
                for descriptor in channels:
                    channel = DaemonChannel(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, fileno=descriptor))
                    nursery.start_soon(_serve_one, Session(next(numbers), channel, Policy(), listener))
            nursery.cancel_scope.cancel()
    except BrokenPipeError:
        return  # the parent has ended meanwhile
    finally:
        listener.close()


async def _next_channels(dispatch: socket.socket) -> list[int]:
    while True:
        try:
            data, descriptors, _, _ = socket.recv_fds(dispatch, 16, 4, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            await trio.lowlevel.wait_readable(dispatch)
            continue
        if not data:
            close_all(descriptors)
            return []
        if descriptors:
            return list(descriptors)
        _log.error("out of file descriptors: a new socket was refused")


async def _serve_one(session: Session) -> None:
    try:
        await session.serve()
    except Exception:
        _log.exception("a defect ended one secure socket; the others go on")


def raise_descriptor_limit() -> None:
    """Use all the descriptors that the hard limit allows: each connection takes three."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main() -> None:
    """Entry point of the worker process."""
    index, runtime = int(sys.argv[2]), Path(sys.argv[3])
    logging.basicConfig(level=logging.INFO, format=f"ssad[{os.getpid()}]: %(message)s")
    for stopping in (signal.SIGINT, signal.SIGTERM):  # also sent to the whole group: the parent's business
        signal.signal(stopping, signal.SIG_IGN)
    raise_descriptor_limit()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)  # a connection leaves little garbage, and looking for it costs
    with socket.socket(fileno=int(sys.argv[1])) as dispatch:
        trio.run(serve, dispatch, index, runtime)


if __name__ == "__main__":
    main()
