"""The keeper: the process that alone reads key files, and hands a key to a worker in the name of a profile.

Started by the parent as ``python -m ssa_impl.keys.keeper CONTROL_FD``; it ends when the parent does.  It hands out only
what the policy lets some profile use, never the content of another file, and says in the log what it gave to whom.

It believes the worker about the profile: a worker that somebody has taken over can ask for every key that the policy
names, one by one and logged, and for nothing else.  What it has read stays in its memory while the policy names it:
Python can neither lock nor overwrite the memory of ``bytes``, so the protection is the process (not dumpable, no core
file), not the erasing.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import selectors
import socket
import sys
from collections.abc import Mapping

from ..administration.logs import LogOptions, configure
from ..control.channel import close_all, prepare, receive_bytes
from ..hardening.children import leave_signals_to_the_parent
from ..hardening.process import harden_keeper
from ..policy.model import Identity, NamedKey
from .messages import (
    MAX_REQUEST_BYTES,
    Answer,
    Garbled,
    Order,
    Question,
    Verdict,
    decode_commit,
    decode_keys,
    decode_question,
    encode_answer,
)
from .reading import UnusableKey, read_identity

_log = logging.getLogger("ssad")


class Shelf:
    """The keys of one policy and what their files held (pure but for the reading)."""

    def __init__(self, keys: Mapping[str, NamedKey] | None = None) -> None:
        self._keys = keys or {}
        self._identities: dict[str, Identity] = {}
        self._names: dict[str, str] = {}
        self.complaints: list[str] = []
        for key in self._keys.values():
            try:
                self._identities[key.name] = read_identity(key)
            except UnusableKey as unusable:
                self.complaints.append(str(unusable))
            for path in (key.chain, key.key, *key.paths):
                self._names.setdefault(os.path.normpath(path), key.name)

    def answer(self, question: Question) -> Answer:
        """Return what a question gets."""
        reference = question.reference
        name = self._names.get(os.path.normpath(reference), "") if reference.startswith("/") else reference
        key, identity = self._keys.get(name), self._identities.get(name)
        if key is None or identity is None:
            return Answer(question.number, Verdict.UNKNOWN)
        if question.profile not in key.profiles:
            return Answer(question.number, Verdict.FORBIDDEN, name)
        return Answer(question.number, Verdict.GIVEN, name, identity)


class Keeper:
    """The loop: orders of the parent, questions of workers."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._shelf = self._next = Shelf()
        self._generation = 0
        self._links: set[socket.socket] = set()
        self._selector = selectors.DefaultSelector()
        self._selector.register(control, selectors.EVENT_READ)

    def run(self) -> None:
        """Serve until the parent hangs up."""
        while True:
            for event, _ in self._selector.select():
                ready = event.fileobj
                assert isinstance(ready, socket.socket)
                if ready is not self._control:
                    self._hear(ready)
                elif not self._obey():
                    return

    def _obey(self) -> bool:
        """Do what the parent orders; False when it has ended."""
        try:
            data, descriptors = receive_bytes(self._control, MAX_REQUEST_BYTES, 1)
            if not data:
                return False
            match Order(data[:1]):
                case Order.LOAD:
                    with os.fdopen(descriptors.pop(), "rb") as file:
                        self._next = Shelf(decode_keys(os.pread(file.fileno(), os.fstat(file.fileno()).st_size, 0)))
                    self._reply(self._next.complaints)
                case Order.COMMIT:
                    self._shelf, self._generation = self._next, decode_commit(data)
                    for link in tuple(self._links):
                        self._tell(link, self._change())
                    self._reply([])
                case Order.LINK:
                    link = socket.socket(fileno=descriptors.pop())
                    prepare(link)
                    self._links.add(link)
                    self._selector.register(link, selectors.EVENT_READ)
                    self._tell(link, self._change())
            close_all(descriptors)
        except ConnectionError:
            return False
        return True

    def _reply(self, complaints: list[str]) -> None:
        self._control.send(json.dumps(complaints).encode("ascii"), socket.MSG_NOSIGNAL)

    def _change(self) -> Answer:
        return Answer(self._generation, Verdict.CHANGED)

    def _hear(self, link: socket.socket) -> None:
        if link not in self._links:  # dropped while its event waited
            return
        try:
            data = link.recv(MAX_REQUEST_BYTES)
            answer = self._shelf.answer(question := decode_question(data)) if data else None
        except BlockingIOError:
            return
        except (OSError, Garbled):
            answer = None
        if answer is None:
            self._drop(link)
            return
        if answer.verdict is not Verdict.UNKNOWN:
            what = "given to a worker" if answer.verdict is Verdict.GIVEN else "refused"
            _log.info("key %s: %s for profile %s", answer.name, what, question.profile)
        self._tell(link, answer)

    def _tell(self, link: socket.socket, answer: Answer) -> None:
        try:
            link.send(encode_answer(answer), socket.MSG_NOSIGNAL)
        except OSError:  # the worker has ended, or does not read: it asks again on another link
            self._drop(link)

    def _drop(self, link: socket.socket) -> None:
        self._links.discard(link)
        with contextlib.suppress(KeyError):
            self._selector.unregister(link)
        link.close()


def main() -> None:
    """Entry point of the keeper process."""
    configure(LogOptions.from_environment(), worker=True)
    leave_signals_to_the_parent()
    harden_keeper()
    with socket.socket(fileno=int(sys.argv[1])) as control:
        control.setblocking(True)
        Keeper(control).run()


if __name__ == "__main__":
    main()
