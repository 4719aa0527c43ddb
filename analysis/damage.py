"""Which lines of a campaign's raw files are damaged; all of them, where reading stops at the first."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from analysis.errors import DataError
from analysis.load import parse_line, raw_lines
from harness.records import Look, Sample, Trial


def damaged(directory: Path) -> Iterator[str]:
    """One sentence for every line of the recorded JSON lines that is torn, edited or of another version."""
    for name, model in (("trials", Trial), ("samples", Sample), ("looks", Look)):
        if (found := raw_lines(directory, name)) is None:
            continue
        path, content = found
        lines = content.split(b"\n")
        if torn := lines.pop():
            yield f"{path}, line {len(lines) + 1}: the line ends in the middle, after {len(torn)} bytes"
        for number, line in enumerate(lines, 1):
            try:
                parse_line(line, number, model, path)
            except DataError as error:
                yield str(error)
