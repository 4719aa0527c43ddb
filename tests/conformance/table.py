"""Write the page of all behaviours.

``python -m tests.conformance.table docs/conformance.md`` writes it; with ``--check`` it changes nothing and exits 1
when the page is stale.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tests.conformance.behaviour import BOTH, BOUNDARIES, GROUPS, PLAIN, TLS_1_2, Behaviour, behaviours

_HEAD = """\
# Conformance: what an application may rely on

<!-- generated from tests/conformance by `python -m tests.conformance.table docs/conformance.md`; do not edit -->

Each row is one behaviour, shown by one small program that uses nothing but its language's sockets.  The suite
(`tox -e py -- tests/conformance`) runs each program under every boundary, with peers that speak TLS 1.2 and 1.3, and
compares what it sees: with the specification, between the boundaries, and with plain TCP without any boundary where TCP
has the same answer.

*yes*: the same there.  *1.2* or *1.3*: the peer speaks this version only.  *-*: has no meaning on TCP.  A number leads
to a deviation that is known; the suite holds it to its exact value.

{count} behaviours, {runs} runs.
"""


def page() -> str:
    """Return the page."""
    rows = list(behaviours().values())
    notes: dict[tuple[str, str], int] = {}
    lines = [_HEAD.format(count=len(rows), runs=sum(len(row.columns()) for row in rows))]
    for group, heading in GROUPS.items():
        lines += [
            f"## {heading}",
            "",
            "| behaviour | an application may rely on | specification | " + " | ".join((PLAIN, *BOUNDARIES)) + " |",
            "|---|---|---|" + "---|" * (1 + len(BOUNDARIES)),
        ]
        lines += [_line(row, notes) for row in rows if row.group == group]
        lines.append("")
    lines += ["## Deviations", ""]
    lines += [f"{number}. {what}: {reason}." for (what, reason), number in notes.items()]
    return "\n".join([*lines, ""])


def _line(row: Behaviour, notes: dict[tuple[str, str], int]) -> str:
    cells = [_cell(row, where, notes) for where in (PLAIN, *BOUNDARIES)]
    return f"| `{row.name}` | {row.sentence} | {row.spec} | {' | '.join(cells)} |"


def _cell(row: Behaviour, where: str, notes: dict[tuple[str, str], int]) -> str:
    if where == PLAIN:
        word = "yes" if row.plain else "-"
    elif len(row.versions) == len(BOTH) or not row.peer:
        word = "yes"
    else:
        word = "1.2" if row.versions == (TLS_1_2,) else "1.3"
    numbers = sorted(
        {
            notes.setdefault((f"*{deviation.what}* is `{_shown(deviation.value)}`", deviation.reason), len(notes) + 1)
            for deviation in row.deviates(where).values()
        }
    )
    return " ".join([word, *(f"({number})" for number in numbers)])


def _shown(value: object) -> str:
    return str(value) if value != "" else "none"


def main(arguments: list[str] | None = None) -> int:
    """Write or check; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.table", description="Write the page.")
    parser.add_argument("page", type=Path)
    parser.add_argument("--check", action="store_true", help="change nothing; exit 1 when the page is stale")
    asked = parser.parse_args(arguments)
    if not asked.check:
        asked.page.write_text(page(), "utf-8")
    elif not asked.page.exists() or asked.page.read_text("utf-8") != page():
        sys.stderr.write(f"{asked.page} is stale: run `python -m tests.conformance.table {asked.page}`\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
