"""The administrator's table to :class:`~.model.Validation`: everything that is wrong with it is said at once.

The table is what TOML gives for ``[profile.NAME.validation]``; ``docs/administrators/validation.md`` describes it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from .model import DEFAULT_TIMEOUT_S, REVOCATION, Choice, Count, Frozen, Validation
from .registry import Plugins, installed
from .strategy import Problem, frozen, nearest

_LONGEST_TIMEOUT_S = 60.0
_COUNTS = ("abstain", "error", "timeout")
_KEYS = ("necessary", "voting", "threshold_percent", "timeout_s", *_COUNTS)
_Table = Mapping[str, object]


@dataclass(frozen=True)
class Complaint:
    """What is wrong with one key."""

    key: str
    """path below the validation table, joined by dots, such as ``revocation.sources``"""
    text: str
    suggestion: str = ""
    """a name that may have been meant"""


def validation_from_table(table: object, plugins: Plugins | None = None) -> Validation | list[Complaint]:
    """Return what the table says, or all complaints.

    :param plugins: the strategies there are; None: those that are installed (entry points of ``ssa.validation``)
    """
    reader = _Reader(plugins if plugins is not None else installed())
    made = reader.read(table)
    return reader.complaints or made


class _Reader:
    def __init__(self, plugins: Plugins) -> None:
        self.complaints: list[Complaint] = []
        self._plugins = plugins

    def read(self, table: object) -> Validation:
        if not isinstance(table, Mapping):
            self._complain("", "validation must be a table")
            return Validation()
        self._check_keys(table)
        necessary, voting = self._names(table, "necessary"), self._names(table, "voting")
        for name in set(necessary) & set(voting):
            self._complain("voting", f"{name} is necessary already, so its vote has no meaning")
        if not table.get("necessary") and not table.get("voting"):
            self._complain("necessary", "no strategy is named as necessary or voting, so nobody could be accepted")
        tables = {key: value for key, value in table.items() if isinstance(value, Mapping)}
        choices = {name: self._choice(name, table, tables) for name in dict.fromkeys((*necessary, *voting))}
        for name in sorted(set(tables) - set(choices) - {REVOCATION}):
            self._complain(name, f"{name} has a table but is neither necessary nor voting", nearest(name, choices))
        spare = choices.get(REVOCATION)
        if spare is None and REVOCATION in tables:
            spare = self._choice(REVOCATION, table, tables)
        return Validation(
            necessary=tuple(choices[name] for name in necessary),
            voting=tuple(choices[name] for name in voting),
            threshold_percent=self._threshold_percent(table),
            for_applications=spare,
        )

    def _check_keys(self, table: _Table) -> None:
        for key, value in table.items():
            if key not in _KEYS and not isinstance(value, Mapping):
                self._complain(key, f"validation has no key {key}", nearest(key, _KEYS))
        if "threshold_percent" in table and not table.get("voting"):
            self._complain("threshold_percent", "a threshold needs strategies that vote")

    def _names(self, table: _Table, key: str) -> tuple[str, ...]:
        value = table.get(key, [])
        if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
            self._complain(key, f"{key} must be a list of strategies' names")
            return ()
        if len(set(value)) < len(value):
            self._complain(key, f"{key} names a strategy twice")
        return tuple(dict.fromkeys(value))

    def _choice(self, name: str, whole: _Table, tables: Mapping[str, _Table]) -> Choice:
        own = dict(tables.get(name, {}))
        strategy = own.pop("strategy", name)
        plugin = self._plugins.get(strategy) if isinstance(strategy, str) else None
        if plugin is None:
            key = f"{name}.strategy" if "strategy" in tables.get(name, {}) else name
            self._complain(key, f"there is no strategy {strategy}", nearest(str(strategy), self._plugins))
            return Choice(name, str(strategy))
        if name != strategy and name in self._plugins:
            self._complain(f"{name}.strategy", f"{name} is a strategy's own name and cannot stand for {strategy}")
        counts = {key: self._count(own, whole, name, key) for key in _COUNTS}
        timeout_s = self._timeout_s(own, whole, name)
        for key in (*_COUNTS, "timeout_s"):
            own.pop(key, None)
        parameters, problems = plugin.read(own)
        self.complaints += [self._for(name, problem) for problem in problems]
        return Choice(name, str(strategy), frozen_pairs(parameters), timeout_s, **counts)

    @staticmethod
    def _for(name: str, problem: Problem) -> Complaint:
        return Complaint(f"{name}.{problem.key}" if problem.key else name, problem.text, problem.suggestion)

    def _count(self, own: _Table, whole: _Table, name: str, key: str) -> Count:
        default = Count.ABSTAIN if key == "abstain" else Count.REJECT
        place, value = (f"{name}.{key}", own[key]) if key in own else (key, whole.get(key, default.value))
        try:
            return Count(value)
        except ValueError:
            allowed = ", ".join(count.value for count in Count)
            self._complain(place, f"{key} must be one of {allowed}", nearest(str(value), (c.value for c in Count)))
            return default

    def _timeout_s(self, own: _Table, whole: _Table, name: str) -> float:
        place, table = (f"{name}.timeout_s", own) if "timeout_s" in own else ("timeout_s", whole)
        value = table.get("timeout_s", DEFAULT_TIMEOUT_S)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= _LONGEST_TIMEOUT_S:
            self._complain(place, f"timeout_s must be a number above 0 and at most {_LONGEST_TIMEOUT_S:g}")
            return DEFAULT_TIMEOUT_S
        return float(value)

    def _threshold_percent(self, table: _Table) -> int:
        value = table.get("threshold_percent", 100)
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 100:
            self._complain("threshold_percent", "threshold_percent must be a whole number from 1 to 100")
            return 100
        return value

    def _complain(self, key: str, text: str, suggestion: str = "") -> None:
        complaint = Complaint(key, text, suggestion)
        if complaint not in self.complaints:
            self.complaints.append(complaint)


def frozen_pairs(parameters: Mapping[str, object]) -> tuple[tuple[str, Frozen], ...]:
    """Return parameters as :class:`~.model.Choice` keeps them."""
    return tuple((key, frozen(value)) for key, value in sorted(parameters.items()))
