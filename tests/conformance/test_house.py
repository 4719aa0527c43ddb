"""The suite's own house: the page is fresh, rows are well formed, and programs are nobody's but the application's."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from tests.conformance import peers, table
from tests.conformance.behaviour import BOUNDARIES, PLAIN, Behaviour, behaviours

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "conformance.md"
ROWS = [pytest.param(row, id=row.name) for row in behaviours().values()]
PROGRAMS = [*sorted((Path(__file__).parent / "behaviours").glob("*.py")), *(
    Path(__file__).with_name(name) for name in ("behaviour.py", "calls.py", "world.py", "zygote.py")
)]  # fmt: skip
OURS = {"behaviour", "behaviours", "calls", "world"}


def test_the_page_is_fresh() -> None:
    assert table.main(["--check", str(PAGE)]) == 0, "run `python -m tests.conformance.table docs/conformance.md`"


def test_a_stale_page_is_noticed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stale = tmp_path / "conformance.md"
    assert table.main([str(stale)]) == 0
    assert table.main(["--check", str(stale)]) == 0
    stale.write_text("old")
    assert table.main(["--check", str(stale)]) == 1
    assert "stale" in capsys.readouterr().err


@pytest.mark.parametrize("row", ROWS)
def test_a_row_is_well_formed(row: Behaviour) -> None:
    assert row.sentence.endswith(".")
    assert "|" not in row.sentence + row.spec
    if row.peer is None:
        assert not row.peer_arguments
        assert not row.seen
    else:
        assert peers.find(row.peer)
    for deviation in row.deviations:
        assert deviation.where in {PLAIN, *BOUNDARIES}
        assert deviation.where != PLAIN or row.plain
        assert not deviation.reason.endswith(".")


def test_every_peer_has_a_part() -> None:
    played = {row.peer for row in behaviours().values()}
    idle = {name for module in peers.MODULES for name in module.__all__} - played
    assert idle == set()


@pytest.mark.parametrize("source", PROGRAMS, ids=lambda path: path.name)
def test_programs_import_the_standard_library_only(source: Path) -> None:
    foreign = set()
    for node in ast.walk(ast.parse(source.read_text("utf-8"))):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        for name in names:
            own = name == "tests.conformance" or name.split(".")[:2] == ["tests", "conformance"]
            if own and (name == "tests.conformance" or name.split(".")[2] in OURS):
                continue
            if name.split(".")[0] not in sys.stdlib_module_names or name.split(".")[0] == "ssl":
                foreign.add(name)
    assert foreign == set()
