import os
import signal
from contextlib import contextmanager

import pytest
import trio

from harness.signals import InterruptedBySignalError, closed_in_peace, raised_as_exceptions, run_in_trio


def test_a_signal_is_an_exception_once() -> None:
    with raised_as_exceptions():
        with pytest.raises(InterruptedBySignalError, match="SIGTERM") as caught:
            os.kill(os.getpid(), signal.SIGTERM)
        assert caught.value.exit_code == 143
        os.kill(os.getpid(), signal.SIGINT)  # while cleaning up: nothing


def test_handlers_are_given_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with raised_as_exceptions():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) is before


def test_under_trio_a_signal_cancels_and_cleaning_up_is_finished() -> None:
    cleaned = []

    async def body() -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                os.kill(os.getpid(), signal.SIGTERM)  # a second one changes nothing
                await trio.lowlevel.checkpoint()
            cleaned.append(True)

    with raised_as_exceptions(), pytest.raises(InterruptedBySignalError, match="SIGINT") as caught:
        run_in_trio(body)
    assert caught.value.exit_code == 130
    assert cleaned == [True]


def test_under_trio_results_and_errors_come_as_they_are() -> None:
    async def well() -> int:
        await trio.lowlevel.checkpoint()
        return 5

    async def badly() -> int:
        await trio.lowlevel.checkpoint()
        raise ValueError("as it is")

    assert run_in_trio(well) == 5
    with pytest.raises(ValueError, match="as it is"):
        run_in_trio(badly)


def test_a_signal_while_something_is_closed_comes_afterwards() -> None:
    events = []

    @contextmanager
    def thing():
        try:
            yield 7
        finally:
            signal.raise_signal(signal.SIGTERM)  # to this thread: others may run in the tests' process
            events.append("closed")

    def work() -> None:
        with closed_in_peace(thing()) as value:
            events.append(value)
        events.append("never")

    with raised_as_exceptions(), pytest.raises(InterruptedBySignalError, match="SIGTERM"):
        work()
    assert events == [7, "closed"]
