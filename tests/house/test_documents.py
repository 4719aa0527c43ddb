"""Documents stay true: links lead somewhere, and what the README calls exists."""

from __future__ import annotations

import re
import tomllib
from configparser import ConfigParser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "results" / "README.md", *ROOT.glob("docs/**/*.md")]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text("utf-8"))
    missing = [target for target in targets if not (document.parent / target).exists()]
    assert missing == []


def test_the_readme_names_environments_that_exist() -> None:
    tox = ConfigParser()
    tox.read(ROOT / "tox.ini")
    described = {section.removeprefix("testenv:") for section in tox.sections()} | {"py"}
    named = set(re.findall(r"tox -e ([\w-]+)", (ROOT / "README.md").read_text("utf-8")))
    assert named
    assert named <= described


def test_the_versions_agree() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    package = re.search(r'__version__ = "(.+)"', (ROOT / "ssa_impl" / "__init__.py").read_text("utf-8"))
    citation = re.search(r"^version: (.+)$", (ROOT / "CITATION.cff").read_text("utf-8"), re.MULTILINE)
    assert package is not None
    assert citation is not None
    assert project["version"] == package[1] == citation[1]
