from __future__ import annotations

import json
import lzma
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from analysis.cli import app
from analysis.verdict import VerdictFile

RUNNER = CliRunner()
PLAIN = {"NO_COLOR": "1", "TERM": "dumb", "COLUMNS": "200"}


def run(*arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout, stderr; a traceback fails the test."""
    result = RUNNER.invoke(app, [str(argument) for argument in arguments], env=PLAIN)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def campaign_copy(full: Path, tmp_path: Path) -> Path:
    target = tmp_path / "campaign"
    shutil.copytree(full, target)
    return target


def test_all_writes_everything_and_prints_the_result(campaign_copy: Path) -> None:
    code, out, err = run("all", campaign_copy)
    assert (code, err) == (0, "")
    for name in ("verdict.json", "figure4.png", "figure4.svg", "figure4.pdf", "report.html"):
        assert (campaign_copy / name).stat().st_size > 1000
    assert "Verdict: different but inside the margin" in out
    assert re.search(r"SSA minus OpenSSL: \+0\.\d+ ms per process \(95 % CI", out)
    assert re.search(r"CPU per MB: OpenSSL 0\.00\d+ s; SSA 0\.00\d+ s; ratio 1\.2", out)
    assert str(campaign_copy) in out.splitlines()[-1]
    assert VerdictFile.model_validate_json((campaign_copy / "verdict.json").read_bytes()).verdicts[0].word
    assert not list(campaign_copy.glob(".*"))


def test_all_of_a_smoke_run_says_underpowered_and_no_word(copied: Path) -> None:
    code, out, _ = run("all", copied)
    assert code == 0
    assert "Underpowered, so there is no verdict" in out
    assert "Verdict: " not in out
    assert json.loads((copied / "verdict.json").read_text())["verdicts"][0]["word"] is None


def test_all_of_nothing_is_still_a_report(empty: Path, tmp_path: Path) -> None:
    code, out, err = run("all", empty, "--out", tmp_path / "out")
    assert code == 0
    assert "no figure" in err
    assert "not enough data" in out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["report.html", "verdict.json"]


def test_figure4_alone_of_nothing_is_a_failure(empty: Path, tmp_path: Path) -> None:
    code, _, err = run("figure4", empty, "--out", tmp_path)
    assert code == 1
    assert err == "error: Figure 4 needs at least one complete pair of ok trials\n"


def test_figure4_prints_the_paths(lan: Path, remote: Path, tmp_path: Path) -> None:
    code, out, _ = run("figure4", lan, remote, "--out", tmp_path / "deep" / "er")
    assert code == 0
    assert [Path(line).suffix for line in out.splitlines()] == [".png", ".svg", ".pdf"]
    assert all(Path(line).exists() for line in out.splitlines())


def test_regression_prints_and_writes_nothing(campaign_copy: Path) -> None:
    before = {path.name for path in campaign_copy.iterdir()}
    code, out, _ = run("regression", campaign_copy)
    assert code == 0
    assert "pair differences" in out
    assert "paper's model" in out
    assert {path.name for path in campaign_copy.iterdir()} - before <= {"trials.parquet"}


def recorded(directory: Path) -> Path:
    """Write verdict.json, as ``all`` does, without the pictures."""
    _, out, _ = run("regression", directory, "--json")
    path = directory / "verdict.json"
    path.write_text(out)
    return path


def test_regression_json_is_the_verdict_that_all_writes(copied: Path) -> None:
    run("all", copied)
    written = (copied / "verdict.json").read_text()
    assert recorded(copied).read_text() == written


def test_report_alone(copied: Path) -> None:
    code, out, _ = run("report", copied)
    assert code == 0
    assert Path(out.strip()) == copied / "report.html"


def test_verify_agrees_and_disagrees(campaign_copy: Path) -> None:
    path = recorded(campaign_copy)
    code, out, _ = run("verify", campaign_copy)
    assert code == 0
    assert "says what the data say" in out
    content = json.loads(path.read_text())
    content["verdicts"][0]["word"] = "equivalent"
    content["verdicts"][0]["slopes"]["difference"]["value"] += 0.01
    path.write_text(json.dumps(content))
    code, _, err = run("verify", campaign_copy)
    assert code == 1
    assert "verdicts[0].word: recorded 'equivalent', now 'different but inside the margin'" in err
    assert "verdicts[0].slopes.difference.value: recorded" in err
    assert "does not say what the data say now (2 differences" in err
    assert path.read_text() == json.dumps(content)


def test_verify_says_to_which_digit(campaign_copy: Path) -> None:
    path = recorded(campaign_copy)
    code, out, _ = run("verify", campaign_copy, "--exact")
    assert (code, out.strip().endswith("to the last digit")) == (0, True)
    content = json.loads(path.read_text())
    content["verdicts"][0]["slopes"]["difference"]["value"] *= 1 + 1e-12
    content["verdicts"][0]["versions"]["numpy"] = "1.0"
    path.write_text(json.dumps(content))
    code, out, _ = run("verify", campaign_copy)
    assert code == 0
    assert "to the ninth digit; 1 numbers differ after it: numpy 1.0 then and" in out
    code, _, err = run("verify", campaign_copy, "--exact")
    assert code == 1
    assert "verdicts[0].slopes.difference.value: recorded" in err


def test_verify_names_every_damaged_line_and_computes_nothing(campaign_copy: Path) -> None:
    recorded(campaign_copy)
    trials, samples = campaign_copy / "trials.jsonl", campaign_copy / "samples.jsonl"
    lines = trials.read_bytes().splitlines(keepends=True)
    lines[1] = lines[1].replace(b'"n":', b'"m":')
    lines[4] = lines[4][:40] + b"\n"
    trials.write_bytes(b"".join(lines))
    samples.write_bytes(samples.read_bytes()[:-7])
    code, _, err = run("verify", campaign_copy)
    assert code == 2
    assert f"{trials}, line 2: n: Field required" in err
    assert f"{trials}, line 5: not valid JSON" in err
    assert "the line ends in the middle" in err
    assert "3 damaged lines" in err


def test_verify_reads_the_raw_files_and_not_the_parquet(campaign_copy: Path) -> None:
    """An edited Parquet file that still names the digest of the JSON lines is not believed."""
    recorded(campaign_copy)
    parquet = campaign_copy / "trials.parquet"
    table = pq.read_table(parquet)
    place = table.schema.get_field_index("elapsed_ns")
    slower = pc.add(table.column(place), 1)
    pq.write_table(table.set_column(place, table.schema.field(place), slower), parquet)
    code, _, err = run("verify", campaign_copy)
    assert code == 2
    assert "trials.parquet: has other rows than trials.jsonl" in err


@pytest.mark.parametrize("name", ["trials", "samples"])
def test_without_the_json_lines_nothing_is_verified(campaign_copy: Path, name: str) -> None:
    """As 'harness check' refuses them: the Parquet file is made of them.  The other commands take it."""
    assert run("all", campaign_copy)[0] == 0
    (campaign_copy / f"{name}.jsonl").unlink()
    code, _, err = run("verify", campaign_copy)
    assert (code, f"{name}.jsonl: the file is missing, and nothing can be verified without it" in err) == (2, True)
    assert run("regression", campaign_copy)[0] == 0


def test_verify_reads_an_archive(campaign_copy: Path) -> None:
    recorded(campaign_copy)
    plain = campaign_copy / "samples.jsonl"
    packed = campaign_copy / "samples.jsonl.xz"
    packed.write_bytes(lzma.compress(plain.read_bytes()))
    plain.unlink()
    assert run("verify", campaign_copy)[0] == 0
    packed.write_bytes(packed.read_bytes()[:-20])
    code, _, err = run("verify", campaign_copy)
    assert code == 2
    assert "damaged, it cannot be unpacked" in err


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "cannot be read: No such file or directory"),
        ("{}", "not a verdict of this version: verdicts: Field required"),
    ],
)
def test_verify_needs_a_verdict(copied: Path, content: str | None, says: str) -> None:
    if content is not None:
        (copied / "verdict.json").write_text(content)
    code, _, err = run("verify", copied)
    assert code == 2
    assert says in err


def one_sentence(err: str) -> str:
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    return err


def test_a_broken_directory_is_one_sentence_and_2(copied: Path) -> None:
    (copied / "trials.jsonl").write_bytes(b'{"schema_version": 1}\n')
    for command in ("all", "figure4", "regression", "report", "verify"):
        code, _, err = run(command, copied)
        assert code == 2, command
        if command != "verify":
            assert "trials.jsonl, line 1: campaign: Field required" in one_sentence(err)


def test_no_such_directory(tmp_path: Path) -> None:
    code, _, err = run("all", tmp_path / "none")
    assert code == 2
    assert "there is no such directory" in one_sentence(err)


def test_several_need_a_place_and_the_same_profile(lan: Path, remote: Path) -> None:
    code, _, err = run("all", lan, remote)
    assert code == 2
    assert "--out" in one_sentence(err)


def test_the_same_campaign_twice(lan: Path, tmp_path: Path) -> None:
    code, _, err = run("all", lan, lan, "--out", tmp_path)
    assert code == 2
    assert "give each only once" in one_sentence(err)


def test_a_full_disk_is_one_sentence_and_1(campaign_copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(*_args: object, **_kwds: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("analysis.files.tempfile.mkstemp", full_disk)
    code, _, err = run("figure4", campaign_copy)
    assert code == 1
    assert "figure4.png: cannot be written: No space left on device" in err.splitlines()[-1]


def test_out_that_cannot_be_made(lan: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, _, err = run("all", lan, "--out", tmp_path / "file" / "under")
    assert code == 2
    assert "cannot be made" in one_sentence(err)
    code, _, err = run("claims", tmp_path, "--report", tmp_path / "file" / "under")
    assert code == 2
    assert "cannot be made" in one_sentence(err)


def test_the_report_of_the_claims_makes_its_directory(campaign_copy: Path, tmp_path: Path) -> None:
    run("all", campaign_copy)
    plan = f"[claim]\nsays = 'x'\nexpected = 'y'\nminutes = 1\ndata = '{campaign_copy.name}'\n"
    (tmp_path / "mine.toml").write_text(plan)
    out = tmp_path / "new" / "page"
    _, _, err = run("claims", campaign_copy.parent, "--plans", tmp_path, "--report", out)
    assert (out / "report.html").is_file(), err


def test_synthetic_makes_a_labelled_campaign_and_never_overwrites(tmp_path: Path) -> None:
    code, _, _ = run("synthetic", tmp_path / "made", "--levels", 3, "--blocks", 2, "--seed", 5)
    assert code == 0
    assert json.loads((tmp_path / "made" / "plan.json").read_text())["manifest"]["preset"] == "synthetic"
    code, _, err = run("synthetic", tmp_path / "made")
    assert code == 2
    assert "exists already" in one_sentence(err)


def test_selfcheck(monkeypatch: pytest.MonkeyPatch) -> None:
    from analysis import selfcheck

    good = selfcheck.Result("something", 95, 100, 90, 99)
    monkeypatch.setattr(selfcheck, "run", lambda _count: [good])
    assert run("selfcheck")[:2] == (0, "ok   something: 95 of 100 (allowed 90 to 99)\n")
    bad = selfcheck.Result("something", 50, 100, 90, 99)
    monkeypatch.setattr(selfcheck, "run", lambda _count: [good, bad])
    code, out, err = run("selfcheck")
    assert code == 1
    assert "FAIL something: 50 of 100" in out
    assert "do not trust" in err


@pytest.mark.parametrize("command", ["figure4", "regression", "report", "all", "verify", "synthetic", "selfcheck"])
def test_help_of_each(command: str) -> None:
    code, out, _ = run(command, "--help")
    assert code == 0
    assert f"Usage: root {command}" in out or f"Usage: analysis {command}" in out or command in out


@pytest.mark.parametrize(
    "arguments", [(), ("all",), ("nonsense",), ("all", "--nonsense", "x"), ("synthetic", "x", "--levels", "0")]
)
def test_bad_usage_is_2(arguments: tuple[str, ...]) -> None:
    assert run(*arguments)[0] == 2


def test_help_loads_no_heavy_library() -> None:
    code = (
        "import sys\nfrom typer.testing import CliRunner\nfrom analysis.cli import app\n"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0\n"
        "print([name for name in ('pandas', 'numpy', 'statsmodels', 'matplotlib', 'pyarrow') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_as_a_process_without_any_warning(campaign_copy: Path) -> None:
    command = [sys.executable, "-W", "error", "-m", "analysis", "all", str(campaign_copy)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | PLAIN)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Verdict: different but inside the margin" in done.stdout


def test_no_arguments_is_help_and_2() -> None:
    done = subprocess.run([sys.executable, "-m", "analysis"], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Usage: python -m analysis" in done.stdout + done.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_end_it_without_a_traceback(number: signal.Signals, code: int) -> None:
    """The signal comes at a known place: when the command begins."""
    program = (
        "import os, sys\nimport analysis.cli, analysis.selfcheck\n"
        f"analysis.selfcheck.run = lambda count: os.kill(os.getpid(), {int(number)}) or []\n"
        "sys.argv = ['analysis', 'selfcheck']\n"
        "from analysis.__main__ import main\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == code
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_library_that_hides_the_signal_behind_an_error_of_its_import(number: signal.Signals, code: int) -> None:
    """As extension modules do, NumPy for one, when they are ended in the middle of it."""
    program = (
        "import os, sys\nimport analysis.cli, analysis.selfcheck\n"
        "def run(count):\n"
        f"    try: os.kill(os.getpid(), {int(number)}); return []\n"
        "    except BaseException: raise ImportError('initialization failed') from None\n"
        "analysis.selfcheck.run = run\n"
        "sys.argv = ['analysis', 'selfcheck']\n"
        "from analysis.__main__ import main\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (code, "")
