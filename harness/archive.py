"""Make a complete campaign small enough to keep, and sealed: what ``results/reference`` is.

The samples' JSONL is by far the largest file (73 MB for 2000 trials) and hardly ever read, since Parquet
holds the same rows; it is kept compressed.  Directories of the machine that it was recorded on, which tell of nobody
but their owner, are replaced by names.  ``SHA256SUMS`` has a line for every file, in the form of sha256sum(1).
"""

from __future__ import annotations

import hashlib
import lzma
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from harness.check import check
from harness.errors import UsageError
from harness.jsonl import ARCHIVED_SUFFIX

SUMS = "SHA256SUMS"
_TELL_PATHS = ("environment.json", "report.html")


def archive(path: Path) -> Path:
    """Check the campaign, compress its samples, write the checksums; return their file.

    UsageError when the campaign does not hold or is not complete.
    """
    findings = check(path)
    if findings:
        raise UsageError(f"{path} is not archived: {findings[0]}")
    plain = path / "samples.jsonl"
    if plain.is_file():
        packed = plain.with_name(plain.name + ARCHIVED_SUFFIX)
        packed.write_bytes(lzma.compress(plain.read_bytes(), preset=6))
        plain.unlink()
    forget_places(path, {str(Path(__file__).parents[1]): "$CHECKOUT", sys.prefix: "$PYTHON", str(Path.home()): "$HOME"})
    return seal(path)


def forget_places(path: Path, names: Mapping[str, str]) -> None:
    """Let a name stand for each directory in what tells paths; the root directory keeps its own."""
    longest_first = "|".join(re.escape(place) for place in sorted(names, key=len, reverse=True) if place != "/")
    place = re.compile(rf"(?:{longest_first})(?![\w.-])")
    for file in (path / name for name in _TELL_PATHS):
        if file.is_file():
            text = file.read_text(encoding="utf-8")
            file.write_text(place.sub(lambda found: names[found[0]], text), encoding="utf-8")


def seal(path: Path) -> Path:
    """Write the checksums of everything; return their file."""
    files = sorted(one for one in path.iterdir() if one.is_file() and one.name != SUMS)
    lines = [f"{hashlib.sha256(one.read_bytes()).hexdigest()}  {one.name}\n" for one in files]
    sums = path / SUMS
    sums.write_text("".join(lines), encoding="utf-8")
    return sums


def check_sums(path: Path) -> list[str]:
    """Every file that is not as sealed; none when there are no checksums."""
    sums = path / SUMS
    if not sums.is_file():
        return []
    findings = []
    for line in sums.read_text(encoding="utf-8").splitlines():
        digest, _, name = line.partition("  ")
        one = path / Path(name).name
        if not one.is_file():
            findings.append(f"{name}: is missing, but {SUMS} lists it.")
        elif hashlib.sha256(one.read_bytes()).hexdigest() != digest:
            findings.append(f"{name}: is not the file that {SUMS} lists.")
    return findings
