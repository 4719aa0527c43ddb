"""The text of OpenMetrics 1.0 for a snapshot.  Pure.  Source: the OpenMetrics specification, section 5."""

from __future__ import annotations

import math
from collections.abc import Iterator

from .metrics import BUCKETS_S, FAMILIES, Family, Kind, Labels, Snapshot

CONTENT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


def render(snapshot: Snapshot) -> str:
    """Return the exposition; families that have no sample yet are announced all the same."""
    lines: list[str] = []
    for family in FAMILIES:
        lines.append(f"# TYPE {family.name} {family.kind.value}")
        if family.unit:
            lines.append(f"# UNIT {family.name} {family.unit}")
        lines.append(f"# HELP {family.name} {family.help.translate(_ESCAPES)}")
        for labels, values in sorted(snapshot.get(family.name, {}).items()):
            lines.extend(_samples(family, labels, values))
    return "\n".join([*lines, "# EOF", ""])


def _samples(family: Family, labels: Labels, values: list[float]) -> Iterator[str]:
    named = list(zip(family.labels, labels, strict=True))
    match family.kind:
        case Kind.HISTOGRAM:
            count = 0.0
            for bound, within in zip((*BUCKETS_S, math.inf), values[:-1], strict=True):
                count += within
                edge = "+Inf" if math.isinf(bound) else str(bound)
                yield f"{family.name}_bucket{_braces([*named, ('le', edge)])} {_number(count)}"
            yield f"{family.name}_count{_braces(named)} {_number(count)}"
            yield f"{family.name}_sum{_braces(named)} {_number(values[-1])}"
        case Kind.COUNTER:
            yield f"{family.name}_total{_braces(named)} {_number(values[0])}"
        case Kind.INFO:
            yield f"{family.name}_info{_braces(named)} 1"
        case Kind.GAUGE:
            yield f"{family.name}{_braces(named)} {_number(values[0])}"


def _braces(named: list[tuple[str, str]]) -> str:
    inside = ",".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in named)
    return f"{{{inside}}}" if inside else ""


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(value)
