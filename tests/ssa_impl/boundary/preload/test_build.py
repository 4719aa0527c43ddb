"""Building the library: without a warning, with nothing exported by accident, and said when it cannot be done."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from ssa_impl.boundary.preload import LIBRARY
from ssa_impl.boundary.preload.build import WARNINGS, CannotBuild, build, compiler, main

STRICTER = (*WARNINGS, "-Wshadow", "-Wpointer-arith", "-Wstrict-prototypes", "-Wundef")


COMPILERS = [name for name in ("gcc", "clang") if shutil.which(name)]


@pytest.fixture(scope="module", params=COMPILERS or ["gcc"])
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not COMPILERS:
        pytest.skip("neither gcc nor clang is installed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CC", request.param)
        return build(tmp_path_factory.mktemp("built") / "library.so", STRICTER)


def wanted() -> set[str]:
    """Return the functions that real.h lists."""
    return set(re.findall(r"X\([\w *]+, (\w+),", LIBRARY.with_name("real.h").read_text()))


def symbols(library: Path, which: str) -> set[str]:
    listed = subprocess.run(["nm", "-D", which, str(library)], capture_output=True, text=True, check=True).stdout
    return {line.split()[-1].split("@")[0] for line in listed.splitlines()}


def test_it_exports_the_interposed_functions_and_nothing_else(built: Path) -> None:
    assert symbols(built, "--defined-only") == wanted()
    assert "connect" in wanted()


def test_it_calls_none_of_them_by_name(built: Path) -> None:
    """A call by name would come back to the library itself."""
    assert not symbols(built, "--undefined-only") & wanted()


def test_no_compiler_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CannotBuild, match="no C compiler was found"):
        compiler()


def test_cc_may_have_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "sh -c true")
    assert compiler() == ["sh", "-c", "true"]


def test_a_compiler_that_fails_leaves_the_old_library(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "fails").write_text("#!/bin/sh\necho broken >&2\nexit 1\n")
    (tmp_path / "fails").chmod(0o755)
    monkeypatch.setenv("CC", str(tmp_path / "fails"))
    target = tmp_path / "library.so"
    target.write_text("old")
    with pytest.raises(CannotBuild, match="the C compiler failed: broken"):
        build(target)
    assert target.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fails", "library.so"]
    assert main() == 1
    assert capsys.readouterr().err == "cannot build the preload boundary's library: the C compiler failed: broken\n"
