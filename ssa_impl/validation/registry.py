"""Which strategies there are: the entry points of ``ssa.validation``, our own among them."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import entry_points

from .model import Choice
from .strategies import BUILT_IN
from .strategy import Strategy

GROUP = "ssa.validation"
_STRATEGIES_KEPT = 256
Plugins = Mapping[str, type[Strategy]]
_log = logging.getLogger("ssad")


@lru_cache(maxsize=1)
def installed() -> Plugins:
    """Return all strategies by name; our own names cannot be taken by another distribution.

    A plug-in that cannot be imported is logged and not there: a policy that names it is refused.
    """
    found: dict[str, type[Strategy]] = {}
    for point in entry_points(group=GROUP):
        if point.name in BUILT_IN:
            continue
        try:
            plugin = point.load()
        except Exception:
            _log.exception("the validation strategy %s cannot be loaded from %s", point.name, point.value)
            continue
        if isinstance(plugin, type) and issubclass(plugin, Strategy):
            found[point.name] = plugin
        else:
            _log.error("the validation strategy %s is no subclass of Strategy: %s", point.name, point.value)
    return found | BUILT_IN


@lru_cache(maxsize=_STRATEGIES_KEPT)
def strategy_for(choice: Choice) -> Strategy:
    """Return this worker's instance.  KeyError when there is no such plug-in any more; what its constructor raises."""
    return installed()[choice.strategy](thawed(choice))


def thawed(choice: Choice) -> dict[str, object]:
    """Return a choice's parameters as its plug-in takes them: tables as dict, lists as tuple, defaults filled in."""
    parameters = installed()[choice.strategy].parameters
    given = dict(choice.parameters)
    made: dict[str, object] = {key: given.get(key, parameter.default) for key, parameter in parameters.items()}
    for key, parameter in parameters.items():
        if parameter.kind is dict:
            made[key] = dict(made[key])  # type: ignore[call-overload]  # pairs, or a table by default
    return made
