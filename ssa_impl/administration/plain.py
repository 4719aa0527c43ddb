"""Frozen dataclasses of numbers, words and tuples as JSON values, and back."""

from __future__ import annotations

import dataclasses
import types
import typing
from typing import Any, TypeVar, Union

Dataclass = TypeVar("Dataclass")


class NotPlain(ValueError):
    """A JSON value is not what the dataclass says; the text says where."""


def to_plain(value: Any) -> dict[str, Any]:
    """Return a dataclass as a JSON object."""
    return dataclasses.asdict(value)


def from_plain(kind: type[Dataclass], value: object) -> Dataclass:
    """Return the dataclass that a JSON object stands for; names it does not know are left out.  Raises NotPlain."""
    made: Dataclass = _read(kind, value, kind.__name__)
    return made


def _read(kind: Any, value: object, where: str) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in {Union, types.UnionType}:
        if value is None and types.NoneType in arguments:
            return None
        (kind,) = (argument for argument in arguments if argument is not types.NoneType)
        return _read(kind, value, where)
    if origin is tuple:
        if not isinstance(value, list):
            raise NotPlain(f"{where} is not a list")
        return tuple(_read(arguments[0], item, f"{where}[{index}]") for index, item in enumerate(value))
    if dataclasses.is_dataclass(kind):
        return _read_dataclass(kind, value, where)
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise NotPlain(f"{where} is not of type {kind.__name__}")
    return value


def _read_dataclass(kind: Any, value: object, where: str) -> Any:
    if not isinstance(value, dict):
        raise NotPlain(f"{where} is not an object")
    hints = typing.get_type_hints(kind)
    known = {
        field.name: _read(hints[field.name], value[field.name], f"{where}.{field.name}")
        for field in dataclasses.fields(kind)
        if field.name in value
    }
    try:
        return kind(**known)
    except TypeError:
        missing = sorted(set(hints) - set(known))
        raise NotPlain(f"{where} lacks one of {', '.join(missing)}") from None
