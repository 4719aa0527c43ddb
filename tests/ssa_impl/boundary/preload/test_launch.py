"""Which programs the dynamic loader would run without the library, and what the others are started with."""

from __future__ import annotations

import os
import struct
import sys
from pathlib import Path

import pytest

from ssa_impl.boundary.preload import LIBRARY, launch
from ssa_impl.boundary.preload.launch import PreloadUnavailable, check, own_loader

PT_LOAD, PT_INTERP = 1, 3


def elf(path: Path, loader: str | None, *, wide: bool = True, mode: int = 0o755) -> Path:
    """Write the head of an ELF file, with PT_INTERP or without."""
    header_bytes, row_bytes = (64, 56) if wide else (52, 32)
    text = (loader or "").encode() + b"\0"
    at = header_bytes + 2 * row_bytes
    numbers = "<4sBBB9xHHI" + ("QQQ" if wide else "III") + "IHHHHHH"
    head = struct.pack(
        numbers,
        b"\x7fELF",
        2 if wide else 1,
        1,
        1,
        2,
        62,
        1,
        0,
        header_bytes,
        0,
        0,
        header_bytes,
        row_bytes,
        2,
        0,
        0,
        0,
    )
    kinds = (PT_LOAD, PT_LOAD if loader is None else PT_INTERP)
    rows = [
        struct.pack("<IIQQQQQQ", kind, 4, at, 0, 0, len(text), len(text), 1)
        if wide
        else struct.pack("<IIIIIIII", kind, at, 0, 0, len(text), len(text), 4, 1)
        for kind in kinds
    ]
    path.write_bytes(head + b"".join(rows) + text)
    path.chmod(mode)
    return path


def test_this_python_has_a_loader() -> None:
    loader = own_loader()
    assert loader is not None
    assert Path(loader).is_absolute()
    check(Path(sys.executable))


def test_a_program_without_a_loader_is_refused(tmp_path: Path) -> None:
    program = elf(tmp_path / "static", None)
    with pytest.raises(PreloadUnavailable, match=r"static .*: it is statically linked; use --boundary seccomp$"):
        check(program)


@pytest.mark.parametrize("wide", [True, False])
def test_a_program_with_another_loader_is_refused(tmp_path: Path, wide: bool) -> None:
    program = elf(tmp_path / "other", "/lib/ld-other.so.1", wide=wide)
    with pytest.raises(PreloadUnavailable, match=r"it is loaded by /lib/ld-other\.so\.1, the library by "):
        check(program)


def test_the_same_loader_elsewhere_is_the_same(tmp_path: Path) -> None:
    loader = own_loader()
    assert loader is not None
    check(elf(tmp_path / "program", f"/elsewhere/{Path(loader).name}"))


def test_a_script_is_as_its_interpreter(tmp_path: Path) -> None:
    static = elf(tmp_path / "static", None)
    script = tmp_path / "script"
    script.write_text(f"#!{static} -x\n")
    with pytest.raises(PreloadUnavailable, match="statically linked"):
        check(script)
    script.write_text("#!/bin/sh\n")
    check(script)
    script.write_text(f"#!{script}\n")
    check(script)  # for ever: the kernel says what it thinks of that


@pytest.mark.parametrize("content", [b"", b"#!", b"#!\n", b"text", b"\x7fELF", b"\x7fELF" + bytes(60)])
def test_what_is_no_program_is_the_kernels_to_refuse(tmp_path: Path, content: bytes) -> None:
    program = tmp_path / "program"
    program.write_bytes(content)
    if content.startswith(b"\x7fELF"):
        with pytest.raises(PreloadUnavailable, match="statically linked"):
            check(program)
    else:
        check(program)
    check(tmp_path / "missing")


def test_a_program_with_added_privilege_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loader = own_loader()
    program = elf(tmp_path / "program", loader, mode=0o4755)
    check(program)  # it is the caller's own: nothing is added
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    with pytest.raises(PreloadUnavailable, match="it is set-user-ID, and the dynamic loader then loads no library"):
        check(program)
    program.chmod(0o2755)
    monkeypatch.setattr(os, "getegid", lambda: os.getgid() + 1)
    with pytest.raises(PreloadUnavailable, match="it is set-group-ID"):
        check(program)


def test_the_library_may_be_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(launch, "LIBRARY", tmp_path / "missing.so")
    with pytest.raises(PreloadUnavailable, match="was not built: install a C compiler and run `python -m ssa_impl"):
        launch.run(["true"], tmp_path)


@pytest.mark.parametrize("before", [None, "", "other.so", "one.so:two.so"])
def test_what_was_to_be_preloaded_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, before: str | None) -> None:
    seen: dict[str, str] = {}

    def execvpe(_name: str, _command: list[str], environment: dict[str, str]) -> None:
        seen.update(environment)
        raise FileNotFoundError

    monkeypatch.setattr(os, "execvpe", execvpe)
    monkeypatch.setattr("signal.signal", lambda _number, _action: None)
    monkeypatch.setattr(launch, "LIBRARY", tmp_path / "library.so")
    (tmp_path / "library.so").write_text("")
    monkeypatch.chdir(tmp_path)
    if before is None:
        monkeypatch.delenv("LD_PRELOAD", raising=False)
    else:
        monkeypatch.setenv("LD_PRELOAD", before)
    with pytest.raises(FileNotFoundError):
        launch.run(["true"], Path("here.sock"))
    assert seen["LD_PRELOAD"] == ":".join([str(tmp_path / "library.so"), *([before] if before else [])])
    assert seen["SSAD_SOCKET"] == str(tmp_path / "here.sock")


def test_the_library_is_beside_its_sources() -> None:
    assert LIBRARY.parent == Path(launch.__file__).parent
