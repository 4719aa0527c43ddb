"""Pydantic's findings as sentences: field, what is wrong, what to do (pure)."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError


def explain(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """One line for each finding, in the order of the fields."""
    return [_sentence(dict(finding), model) for finding in error.errors(include_url=False)]


def _sentence(finding: dict[str, Any], model: type[BaseModel]) -> str:
    place: tuple[str | int, ...] = finding["loc"]
    field = ".".join(str(part) for part in place)
    kind, value, context = finding["type"], finding["input"], finding.get("ctx", {})
    if kind == "extra_forbidden":
        return f"{field}: there is no such field; {_nearest(str(place[-1]), _names(model, place[:-1]))}"
    if kind == "missing":
        return f"{field}: is missing; {_description(model, place)}"
    if kind in ("enum", "literal_error"):
        return f"{field}: is {value!r}, but must be {context['expected']}"
    if kind == "value_error":
        return f"{field}: {context['error']} (it is {_short(value)})"
    message = finding["msg"].removeprefix("Input ").replace("should", "must")
    return f"{field}: {message} (it is {_short(value)}); {_description(model, place)}"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _nearest(name: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]}?" if close else f"known are {', '.join(known)}"


def _names(model: type[BaseModel], place: Sequence[str | int]) -> list[str]:
    inner = _inner(model, place)
    return list(inner.model_fields) if inner else []


def _description(model: type[BaseModel], place: Sequence[str | int]) -> str:
    inner = _inner(model, place[:-1]) or model
    for name in (place[-1], place[0]):
        if name in inner.model_fields:
            return inner.model_fields[str(name)].description or "see docs/harness.md"
    return "see docs/harness.md"


def _inner(model: type[BaseModel], place: Sequence[str | int]) -> type[BaseModel] | None:
    for part in place:
        field = model.model_fields.get(str(part))
        if field is None:
            return None
        types = [field.annotation, *get_args(field.annotation)]
        model = next((kind for kind in types if isinstance(kind, type) and issubclass(kind, BaseModel)), model)
    return model
