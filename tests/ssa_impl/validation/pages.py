"""A strategy's parameters as rows of the documentation's tables."""

from __future__ import annotations

from ssa_impl.validation.strategy import Parameter, Strategy

_TYPES = {bool: "boolean", int: "integer", str: "string", list: "list of strings", dict: "table of lists of strings"}


def rows(plugin: type[Strategy]) -> list[str]:
    """Return one row for each parameter."""
    return [
        f"| `{name}` | {_TYPES[one.kind]}{_limits(one)} | {_shown(one.default)} | {one.meaning} |"
        for name, one in plugin.parameters.items()
    ]


def _limits(parameter: Parameter) -> str:
    if parameter.kind is int:
        return f", {parameter.low} to {parameter.high}" if parameter.high is not None else f", at least {parameter.low}"
    if parameter.among:
        return " of " + ", ".join(parameter.among)
    return f": {parameter.rule}" if parameter.rule else ""


def _shown(default: object) -> str:
    if isinstance(default, bool):
        return str(default).lower()
    if not default and not isinstance(default, int):
        return "none"
    return "all" if isinstance(default, tuple) else str(default)
