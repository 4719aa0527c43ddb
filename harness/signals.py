"""SIGINT, SIGTERM and SIGHUP: at any moment, in order, with the exit code that a shell expects.

Outside trio a signal raises :class:`InterruptedBySignalError` (and the following ones are ignored, so that
cleaning up is never interrupted); inside, :func:`run_in_trio` cancels the body, lets it clean up, and raises
the same then.
"""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from types import FrameType
from typing import TypeVar

import trio

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
T = TypeVar("T")


class InterruptedBySignalError(BaseException):
    """Not an Exception: nobody may swallow it on the way out."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


@contextmanager
def raised_as_exceptions() -> Iterator[None]:
    """For the whole program, around everything that must be cleaned up."""

    def handle(number: int, _frame: FrameType | None) -> None:
        _ignore_further()
        raise InterruptedBySignalError(number)

    before = {number: signal.signal(number, handle) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ignore_further() -> None:
    """Those that are pending are forgotten, too."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


def run_in_trio(body: Callable[[], Awaitable[T]]) -> T:
    """Run ``body`` under trio; the first signal cancels it, further ones change nothing.

    Raises InterruptedBySignalError when the body has been cancelled so.  Signals are blocked while trio
    starts and ends.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        return trio.run(_cancelled_by_signals, body)
    except InterruptedBySignalError:
        _ignore_further()
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


async def _cancelled_by_signals(body: Callable[[], Awaitable[T]]) -> T:
    caught: list[int] = []
    results: list[T] = []
    failures: list[Exception] = []
    with trio.open_signal_receiver(*SIGNALS) as signals:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        async with trio.open_nursery() as nursery:
            scope = trio.CancelScope()

            async def listen() -> None:
                async for number in signals:
                    caught.append(number)
                    scope.cancel()

            nursery.start_soon(listen)
            with scope:
                try:
                    results.append(await body())
                except Exception as error:  # to be raised as it is, not in a nursery's group
                    failures.append(error)
            nursery.cancel_scope.cancel()
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    if failures:
        raise failures[0]
    if not results:
        raise InterruptedBySignalError(caught[0])
    return results[0]


@contextmanager
def closed_in_peace(context: AbstractContextManager[T]) -> Iterator[T]:
    """As ``with context``, but no signal interrupts its end."""
    with ExitStack() as stack:
        stack.callback(signal.pthread_sigmask, signal.SIG_UNBLOCK, SIGNALS)
        value = stack.enter_context(context)
        stack.callback(signal.pthread_sigmask, signal.SIG_BLOCK, SIGNALS)
        yield value
