"""The notebooks run from first to last cell, are stored clean, and import nothing of ours but the analysis."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from analysis.errors import DataError
from analysis.notebook import campaign_directory
from analysis.synthetic import Design, Truth, campaign, write

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def cells(path: Path, kind: str) -> list[dict]:
    return [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == kind]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("campaign") / "recorded"
    write(directory, campaign(Design(levels=(1, 10, 20, 30), blocks=5), Truth(), seed=1))
    return directory


def test_all_are_there() -> None:
    assert [path.stem for path in NOTEBOOKS] == ["cpu-cost", "figure4", "regression", "scaling", "threats-to-validity"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs(path: Path, recorded: Path) -> None:
    command = [sys.executable, "-m", "pytest", "--nbmake", "-p", "no:cacheprovider", "-q", str(path)]
    environment = os.environ | {"CAMPAIGN": str(recorded)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "1 passed" in done.stdout


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_stored_without_outputs(path: Path) -> None:
    for cell in cells(path, "code"):
        assert cell["outputs"] == []
        assert cell["execution_count"] is None


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_imports_the_analysis_only(path: Path) -> None:
    tree = ast.parse("\n".join("".join(cell["source"]) for cell in cells(path, "code")))
    imported = {
        alias.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names
    }
    imported |= {str(node.module).split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported == {"analysis", "os", "pathlib"}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_explains_itself(path: Path) -> None:
    assert len(cells(path, "markdown")) >= 6
    assert "section 6.2" in "".join(cells(path, "markdown")[0]["source"])


def make(root: Path, name: str) -> None:
    (root / name).mkdir(parents=True)
    (root / name / "plan.json").write_text("{}")


def test_the_reference_is_read_by_default_and_the_example_visibly_instead(tmp_path: Path) -> None:
    here = tmp_path / "notebooks"
    with pytest.raises(DataError, match="neither results/reference nor results/example"):
        campaign_directory({}, here)
    make(tmp_path, "results/example")
    found, sentence = campaign_directory({}, here)
    assert found == tmp_path / "results/example"
    assert "too small to judge" in sentence
    make(tmp_path, "results/reference")
    found, sentence = campaign_directory({}, here)
    assert (found, sentence) == (tmp_path / "results/reference", "Reading results/reference.")


def test_the_variable_names_another(tmp_path: Path) -> None:
    make(tmp_path, "results/reference")
    found, sentence = campaign_directory({"CAMPAIGN": "/somewhere/else"}, tmp_path)
    assert found == Path("/somewhere/else")
    assert sentence == "Reading else, which CAMPAIGN names."
