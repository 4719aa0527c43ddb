"""Records as columns: the Parquet files, whose schema is derived from the models in :mod:`harness.records`.

Fields of a nested record become columns with its name in front: ``cpu_clients.total_ns`` is
``cpu_clients_total_ns``.
"""

from __future__ import annotations

import functools
import importlib
import os
import types
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel

Row = dict[str, "str | int | float | bool | None"]


@functools.cache
def column_types(model: type[BaseModel]) -> Mapping[str, type]:
    """Every column of a record in order, with its Python type; all of them may be missing."""
    return types.MappingProxyType(dict(_columns(model, "")))


def _columns(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, type]]:
    for name, field in model.model_fields.items():
        kind = plain_type(field.annotation)
        if issubclass(kind, BaseModel):
            yield from _columns(kind, f"{prefix}{name}_")
        else:
            yield f"{prefix}{name}", kind


def plain_type(annotation: Any) -> type:
    """``int`` for ``Annotated[int, ...] | None`` and the like; ``str`` for a StrEnum; of a tuple, its elements'."""
    if get_origin(annotation) is tuple:
        annotation = get_args(annotation)[0]
    if get_origin(annotation) in (Union, types.UnionType):
        (annotation,) = (kind for kind in get_args(annotation) if kind is not type(None))
    if hasattr(annotation, "__metadata__"):
        annotation = get_args(annotation)[0]
    kind: type = annotation
    return str if issubclass(kind, StrEnum) else kind


def flatten(record: BaseModel) -> Row:
    """One record as one row."""
    row: Row = dict.fromkeys(column_types(type(record)))
    for name, value in record.model_dump(mode="json").items():
        if isinstance(value, dict):
            row.update({f"{name}_{inner}": part for inner, part in value.items()})
        elif name in row:
            row[name] = value
    return row


def to_table(model: type[BaseModel], records: Sequence[BaseModel]) -> Any:
    """All records as a pyarrow.Table with the model's schema."""
    pa = importlib.import_module("pyarrow")
    arrow = {int: pa.int64(), float: pa.float64(), str: pa.string(), bool: pa.bool_()}
    schema = pa.schema([pa.field(name, arrow[kind]) for name, kind in column_types(model).items()])
    return pa.Table.from_pylist([flatten(record) for record in records], schema=schema)


def write_parquet(path: Path, model: type[BaseModel], records: Sequence[BaseModel], jsonl_sha256: str) -> None:
    """Write atomically: the file is there whole, or as it was before.  OSError as it comes.

    The metadata say of which JSONL file these are the rows.
    """
    pq = importlib.import_module("pyarrow.parquet")
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        table = to_table(model, records).replace_schema_metadata({"jsonl_sha256": jsonl_sha256})
        pq.write_table(table, temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
