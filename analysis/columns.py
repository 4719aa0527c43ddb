"""Records as columns: names, kinds and order follow from the models of ``harness.records``.  Pure.

A nested :class:`~harness.records.Cpu` becomes ``cpu_clients_user_ns``, ``cpu_clients_total_ns`` and so on.
Integers keep all their bits (pandas ``Int64``); what was not measured stays missing.
"""

from __future__ import annotations

import types
from collections.abc import Iterable
from enum import StrEnum
from functools import cache
from typing import Any, Union, get_args, get_origin

import numpy as np
import pandas as pd

from harness.records import Cpu, Record

DTYPES: dict[type, str] = {int: "Int64", float: "Float64", bool: "boolean", str: "string"}


def _plain_type(annotation: Any) -> type:
    """Strip ``Annotated`` and ``| None``; enums count as strings."""
    if get_origin(annotation) in (Union, types.UnionType):
        (annotation,) = (a for a in get_args(annotation) if a is not type(None))
    if hasattr(annotation, "__metadata__"):
        annotation = get_args(annotation)[0]
    if issubclass(annotation, StrEnum):
        return str
    return annotation  # type: ignore[no-any-return]


@cache
def _fields(model: type[Record]) -> tuple[tuple[str, type], ...]:
    """Each field's name and plain type."""
    return tuple((name, _plain_type(field.annotation)) for name, field in model.model_fields.items())


@cache
def dtypes(model: type[Record]) -> dict[str, str]:
    """Column name to pandas dtype, in the order of the model's fields."""
    columns: dict[str, str] = {}
    for name, plain in _fields(model):
        if plain is Cpu:
            columns |= {f"{name}_{part}": dtype for part, dtype in dtypes(Cpu).items()}
        else:
            columns[name] = DTYPES[plain]
    return columns


def row(record: Record) -> tuple[Any, ...]:
    """The record's values in the order of :func:`dtypes`, a missing Cpu as so many None."""
    values: list[Any] = []
    for name, plain in _fields(type(record)):
        value = getattr(record, name)
        if plain is Cpu:
            values.extend(getattr(value, part, None) for part in Cpu.model_fields)
        else:
            values.append(value)
    return tuple(values)


def frame(rows: Iterable[tuple[Any, ...]], model: type[Record]) -> pd.DataFrame:
    """Rows as made by :func:`row`, as typed columns.

    Raises:
        OverflowError: an integer does not fit 64 bits.
    """
    names = dtypes(model)
    columns = list(zip(*rows, strict=True)) or [() for _ in names]
    arrays = zip(names.items(), columns, strict=True)
    return pd.DataFrame({name: _column(values, dtype) for (name, dtype), values in arrays})


def _column(values: tuple[Any, ...], dtype: str) -> pd.Series:
    """Integers by way of numpy, which refuses what does not fit instead of rounding it."""
    if dtype != "Int64":
        return pd.Series(list(values), dtype=dtype)
    whole = np.array([0 if value is None else value for value in values], dtype=np.int64)
    return pd.Series(pd.arrays.IntegerArray(whole, np.array([value is None for value in values], dtype=bool)))


def typed(table: pd.DataFrame, model: type[Record]) -> pd.DataFrame:
    """The model's columns in the model's order and types.

    Raises:
        ValueError: a column is missing or unknown, or (also ``TypeError``) does not convert.
    """
    names = dtypes(model)
    missing = [name for name in names if name not in table.columns]
    unknown = [name for name in table.columns if name not in names]
    if missing or unknown:
        raise ValueError(f"columns missing: {missing or 'none'}, unknown: {unknown or 'none'}")
    return table[list(names)].astype(names)
