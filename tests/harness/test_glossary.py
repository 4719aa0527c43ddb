from pathlib import Path

import pytest

from harness.columns import column_types
from harness.glossary import main, renewed, table
from harness.plan import Plan
from harness.records import HalfWidth, Judgement, Look, Sample, Stopping, Trial

PAGE = Path(__file__).parents[2] / "docs" / "harness.md"


def test_the_page_is_not_stale() -> None:
    assert main(["--check", str(PAGE)]) == 0, f"renew it with: python -m harness.glossary {PAGE}"


def test_every_column_is_there_and_described() -> None:
    for model in (Trial, Sample):
        rows = [line.split(" | ") for line in table(model).splitlines()[2:]]
        described = {row[0].strip("| `"): row[-1].strip("| ") for row in rows if "..." not in row[0]}
        assert set(described) == set(column_types(model))
        assert all(described.values()), described


@pytest.mark.parametrize("model", [Plan, Judgement, Stopping, Look, HalfWidth])
def test_every_field_of_the_plan_is_described(model: type[Plan]) -> None:
    for name, field in model.model_fields.items():
        assert field.description, name


def test_a_stale_page_is_renewed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text(PAGE.read_text().replace("concurrent client processes", "something else"))
    assert main(["--check", str(page)]) == 1
    assert "is stale; renew it with" in capsys.readouterr().err
    assert main([str(page)]) == 0
    assert page.read_text() == PAGE.read_text()


def test_a_page_without_places() -> None:
    with pytest.raises(ValueError, match="no place for the table 'plan'"):
        renewed("nothing")
