"""The tables of fields in docs/harness.md, made from the models: ``python -m harness.glossary docs/harness.md``.

With ``--check`` nothing is written, and a stale page is exit code 1.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from harness.columns import plain_type
from harness.plan import Plan
from harness.records import Judgement, LinkSample, Look, Sample, Stopping, Trial

TABLES: dict[str, type[BaseModel]] = {
    "plan": Plan,
    "judgement": Judgement,
    "stopping": Stopping,
    "trials": Trial,
    "samples": Sample,
    "links": LinkSample,
    "looks": Look,
}


def table(model: type[BaseModel]) -> str:
    """One row for each field; nested CPU fields as their Parquet columns."""
    with_default = model in {Plan, Judgement, Stopping}
    head = (
        "| field | default | meaning |\n|---|---|---|\n"
        if with_default
        else "| column | type | meaning |\n|---|---|---|\n"
    )
    return head + "".join(_rows(model, "", with_default=with_default))


def _rows(model: type[BaseModel], prefix: str, *, with_default: bool) -> Iterator[str]:
    for name, field in model.model_fields.items():
        if with_default:
            default = "(required)" if field.is_required() else _shown(field.default)
            yield f"| `{name}` | {default} | {_cell(field.description)} |\n"
            continue
        kind = plain_type(field.annotation)
        if issubclass(kind, BaseModel):
            yield f"| `{prefix}{name}_...` | | {_cell(field.description)}: |\n"
            yield from _rows(kind, f"{prefix}{name}_", with_default=False)
        else:
            yield f"| `{prefix}{name}` | {kind.__name__} | {_cell(field.description)} |\n"


def _cell(text: str | None) -> str:
    return (text or "").replace("|", "\\|")


def _shown(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join(str(part) for part in value)
    return "" if value in {None, PydanticUndefined} else str(value)


def renewed(page: str) -> str:
    """The page with every table made anew.  ValueError when a place for one is missing."""
    for name, model in TABLES.items():
        begin, end = f"<!-- {name}: made by harness.glossary -->\n", f"<!-- {name}: end -->\n"
        before, found, rest = page.partition(begin)
        _, found_end, after = rest.partition(end)
        if not found or not found_end:
            raise ValueError(f"the page has no place for the table {name!r}")
        page = f"{before}{begin}\n{table(model)}\n{end}{after}"
    return page


def main(arguments: list[str]) -> int:
    """Renew or check the pages that are named."""
    stale = False
    for path in (Path(name) for name in arguments if name != "--check"):
        page = path.read_text(encoding="utf-8")
        if (new := renewed(page)) == page:
            continue
        if "--check" in arguments:
            sys.stderr.write(f"{path} is stale; renew it with: python -m harness.glossary {path}\n")
            stale = True
        else:
            path.write_text(new, encoding="utf-8")
    return int(stale)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
