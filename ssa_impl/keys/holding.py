"""A worker's side: it asks the keeper for a key when an application first names it, and holds what it was given."""

from __future__ import annotations

import errno
import itertools
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field

import trio

from ..abi import IPPROTO_TLS, NAME_PREFIX, Opt
from ..control.channel import prepare
from ..errors import ApplicationError, DaemonError, PolicyError, SsaError
from ..policy.model import Identity
from .messages import MAX_ANSWER_BYTES, Answer, Garbled, Question, Verdict, decode_answer, encode_question

_log = logging.getLogger("ssad")
_PATIENCE_S = 10.0
"""how long an application waits for a keeper that was ended and is being started again"""
_MAX_REFERENCE = 8192
KEY_OPTIONS = frozenset({Opt.TLS_CERTIFICATE_CHAIN, Opt.TLS_PRIVATE_KEY})


def value_of(name: str) -> bytes:
    """Return the option's value that names a key of the policy."""
    return NAME_PREFIX + name.encode("ascii") + b"\0"


def name_in(level: int, option: int, value: bytes) -> str | None:
    """Return the name of a key of the policy in an option's value, None when it holds none."""
    if level != IPPROTO_TLS or option not in KEY_OPTIONS or not value.startswith(NAME_PREFIX):
        return None
    return value[len(NAME_PREFIX) :].rstrip(b"\0").decode("utf-8", "surrogateescape")


@dataclass
class _Waiting:
    question: Question
    done: trio.Event = field(default_factory=trio.Event)
    answer: Answer | None = None


class Keys:
    """What one worker holds; without :meth:`link` the policy has no keys, and every name is refused."""

    def __init__(
        self,
        start: Callable[..., None],
        renewed: Callable[[], Awaitable[None]],
    ) -> None:
        """``start`` runs something beside; ``renewed`` follows when the keys that are held were asked for again."""
        self._start = start
        self._renewed = renewed
        self._numbers = itertools.cycle(range(1 << 32))
        self._link: socket.socket | None = None
        self._has_keeper = False
        self._turn = trio.Lock()  # one question at a time: the answer always has room in the socket
        self._waiting: dict[int, _Waiting] = {}
        self._held: dict[tuple[str, str], Identity] = {}
        self._generation = 0

    def link(self, end: socket.socket) -> None:
        """Ask over this socket from now on; what waits for an answer is asked again."""
        prepare(end)
        self._link, self._has_keeper = end, True
        self._start(self._listen, end)
        for waiting in self._waiting.values():
            self._ask(waiting.question)

    # -- asking

    async def find(self, profile: str, reference: str, why_not: int = 0) -> str:
        """Hold the key behind a name or an absolute path, and return its name.

        Raises ApplicationError (EINVAL) for what can be neither, and with ``why_not`` for a path that is not the
        policy's; PolicyError (EPROTO) for a name that the policy does not have or does not let this profile use;
        DaemonError (ENOTCONN) when no keeper answers.
        """
        if (profile, reference) in self._held:
            return reference
        if "\0" in reference or len(reference) > _MAX_REFERENCE:
            raise ApplicationError(f"neither a key's name nor a path of at most {_MAX_REFERENCE} characters")
        answer = await self._answer(profile, reference)
        return self._take(profile, reference, why_not, answer)

    def _take(self, profile: str, reference: str, why_not: int, answer: Answer) -> str:
        if answer.verdict is Verdict.FORBIDDEN:
            raise PolicyError(f"the policy does not let the profile {profile} use the key {answer.name}")
        if answer.identity is None:
            if reference.startswith("/"):
                raise ApplicationError(f"{_shown(reference)}: {os.strerror(why_not)}", why_not)
            raise PolicyError(f"the policy has no key named {_shown(reference)}")
        self._held[profile, answer.name] = answer.identity
        return answer.name

    async def prepare(self, profile: str, options: Iterable[tuple[int, int, bytes]]) -> None:
        """Hold every key that a list of options names.  Raises as :meth:`find`."""
        for option in options:
            if (name := name_in(*option)) is not None:
                await self.find(profile, name)

    def held(self, profile: str, name: str) -> Identity:
        """Return what a name stands for.  Raises PolicyError when this worker does not hold it for this profile."""
        try:
            return self._held[profile, name]
        except KeyError:
            raise PolicyError(f"the policy has no key named {_shown(name)} for the profile {profile}") from None

    async def _answer(self, profile: str, reference: str) -> Answer:
        number = next(self._numbers)
        question = Question(number, profile, reference)
        if not self._has_keeper:
            return Answer(number, Verdict.UNKNOWN)
        waiting = _Waiting(question)
        try:
            with trio.move_on_after(_PATIENCE_S):
                async with self._turn:
                    self._waiting[number] = waiting
                    self._ask(question)
                    await waiting.done.wait()
        finally:
            self._waiting.pop(number, None)
        if waiting.answer is None:
            raise DaemonError("the keeper of the keys does not answer", errno.ENOTCONN)
        return waiting.answer

    def _ask(self, question: Question) -> None:
        """Send a question; without a keeper at this moment it waits for the next one."""
        if self._link is not None:
            try:
                self._link.send(encode_question(question), socket.MSG_NOSIGNAL)
            except OSError:
                self._link = None  # it has ended; _listen sees it too

    # -- hearing

    async def _listen(self, end: socket.socket) -> None:
        with end:
            while (answer := await self._next(end)) is not None:
                if answer.verdict is Verdict.CHANGED:
                    self._start(self._renew, answer.number)
                elif (waiting := self._waiting.get(answer.number)) is not None:
                    waiting.answer = answer
                    waiting.done.set()
        if self._link is end:
            self._link = None

    @staticmethod
    async def _next(end: socket.socket) -> Answer | None:
        while True:
            try:
                data = end.recv(MAX_ANSWER_BYTES)
                return decode_answer(data) if data else None
            except BlockingIOError:
                await trio.lowlevel.wait_readable(end)
            except (OSError, Garbled):
                return None

    async def _renew(self, generation: int) -> None:
        """Ask again for everything that is held, once for each generation; what is refused now is let go."""
        if generation == self._generation:
            return
        for profile, name in tuple(self._held):
            try:
                self._take(profile, name, 0, await self._answer(profile, name))
            except DaemonError:
                return  # the next keeper says its generation too
            except SsaError as error:
                del self._held[profile, name]
                _log.warning("a key is not used any more: %s", error.text)
        self._generation = generation
        await self._renewed()


def _shown(reference: str) -> str:
    return reference.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
