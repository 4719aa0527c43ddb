"""The interface of a strategy: one small class with a name, a table of parameters, and ``judge``.

A plug-in is such a class, named in the entry-point group ``ssa.validation`` of any installed distribution::

    [project.entry-points."ssa.validation"]
    office-hours = "our_strategies:OfficeHours"
"""

from __future__ import annotations

import difflib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, ClassVar, Literal, TypeVar, TypeVarTuple

import trio

from .model import Ballot, Case, Frozen, Vote

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")


@dataclass(frozen=True)
class Problem:
    """What is wrong with one parameter."""

    key: str
    text: str
    suggestion: str = ""


@dataclass(frozen=True)
class Parameter:
    """One parameter of a strategy."""

    kind: type
    """bool, int, str, list (of strings) or dict (string to list of strings)"""
    default: object
    meaning: str
    """what it does, with its unit: shown in the documentation"""
    low: int = 0
    high: int | None = None
    among: tuple[str, ...] = ()
    """values that a string, or each of a list's, may have; () for all"""
    valid: Callable[[str], bool] | None = None
    """further rule for a string, or each of a list's or a table's"""
    rule: str = ""
    """the same rule in words, after "must be" """
    file: Literal["", "read", "write"] = ""
    """whether the value names files that are read or written: a confined worker reaches their directories only if so"""

    def complaint(self, value: object) -> str:
        """Say what ``value`` must be; empty when it is."""
        if not _is_of(self.kind, value):
            return f"must be {_WORDS[self.kind]}"
        if isinstance(value, int) and value < self.low:
            return f"must be at least {self.low}"
        if isinstance(value, int) and self.high is not None and value > self.high:
            return f"must be at most {self.high}"
        texts = _strings(value)
        if self.among and (strange := [text for text in texts if text not in self.among]):
            return f"cannot be {strange[0]!r}: it must be among {', '.join(self.among)}"
        if self.valid is not None and (strange := [text for text in texts if not self.valid(text)]):
            return f"{strange[0]!r} must be {self.rule}"
        return ""


_WORDS = {
    bool: "true or false",
    int: "a whole number",
    str: "a string",
    list: "a list of strings",
    dict: "a table of lists of strings",
}


def _is_of(kind: type, value: object) -> bool:
    if kind is list:
        return isinstance(value, list | tuple) and all(isinstance(item, str) for item in value)
    if kind is dict:
        return isinstance(value, Mapping) and all(isinstance(k, str) and _is_of(list, v) for k, v in value.items())
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def _strings(value: object) -> list[str]:
    if isinstance(value, str):
        return [value] if value else []
    if isinstance(value, Mapping):
        return [text for items in value.values() for text in items]
    return [text for text in value if isinstance(text, str)] if isinstance(value, list | tuple) else []


def absolute_path(text: str) -> bool:
    """Whether a parameter is an absolute path: the daemon has no working directory to speak of."""
    return PurePath(text).is_absolute() and "\0" not in text


class Strategy(ABC):
    """One way to judge a peer.

    One instance serves all connections of one worker under equal parameters, so it may keep a cache.  An exception
    counts as an error, and so does anything but a :class:`~.model.Ballot`; both are logged.
    """

    name: ClassVar[str]
    """what the administrator writes"""
    summary: ClassVar[str]
    """one sentence for the documentation"""
    parameters: ClassVar[Mapping[str, Parameter]] = {}

    def __init__(self, parameters: Mapping[str, Any]) -> None:
        """Take all parameters, defaults filled in; nothing is contacted or opened yet."""
        super().__init__()

    @abstractmethod
    async def judge(self, case: Case) -> Ballot:
        """Say whether this peer is to be believed; cancelled when its time is over."""

    async def confirm(self, case: Case) -> Ballot | None:
        """Hear that the vote has accepted this peer; a ballot takes the first one's place, and all are counted anew."""
        return None

    @classmethod
    def check(cls, parameters: Mapping[str, Any]) -> list[Problem]:
        """Say what is wrong with parameters that are well-formed one by one."""
        return []

    @classmethod
    def read(cls, table: Mapping[str, object]) -> tuple[dict[str, object], list[Problem]]:
        """Return all parameters with their defaults, and what is wrong with the table."""
        problems = [
            Problem(key, f"{cls.name} has no parameter {key}", nearest(key, cls.parameters))
            for key in table
            if key not in cls.parameters
        ]  # fmt: skip
        values: dict[str, object] = {}
        for key, parameter in cls.parameters.items():
            values[key] = table.get(key, parameter.default)
            if key in table and (complaint := parameter.complaint(values[key])):
                problems.append(Problem(key, f"{key} {complaint}"))
        if not problems:
            problems += cls.check(values)
        return values, problems


def accept(reason: str) -> Ballot:
    """Vote for the peer."""
    return Ballot(Vote.ACCEPT, reason)


def reject(reason: str) -> Ballot:
    """Vote against the peer."""
    return Ballot(Vote.REJECT, reason)


def abstain(reason: str) -> Ballot:
    """Have nothing to say of this peer."""
    return Ballot(Vote.ABSTAIN, reason)


def failed(reason: str) -> Ballot:
    """Say that this strategy could not do its work."""
    return Ballot(Vote.ERROR, reason)


async def in_thread(work: Callable[[*Arguments], T], *arguments: *Arguments) -> T:
    """Do something that blocks; when its time is over nobody waits for it any longer, whatever holds it up."""
    return await trio.to_thread.run_sync(work, *arguments, abandon_on_cancel=True)


def frozen(value: object) -> Frozen:
    """Return a parameter's value as something hashable."""
    if isinstance(value, Mapping):
        return tuple((str(key), frozen(item)) for key, item in sorted(value.items()))
    if isinstance(value, list | tuple):
        return tuple(map(frozen, value))
    assert isinstance(value, str | int | float | bool)
    return value


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the known word that may have been meant, "" when none is near."""
    return next(iter(difflib.get_close_matches(word, list(known), 1)), "")
