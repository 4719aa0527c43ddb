"""Who a socket belongs to, as the kernel says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ssa_impl.daemon.identity import Unidentified, from_fields, identify, to_fields


def test_this_process() -> None:
    found = identify(os.getpid(), os.geteuid())
    assert (found.pid, found.uid, found.gid) == (os.getpid(), os.geteuid(), os.getegid())
    assert found.executable == os.path.realpath(sys.executable)
    assert found.groups == frozenset(os.getgroups())
    assert from_fields(to_fields(found)) == found


def test_a_program_that_was_replaced_has_its_old_path(tmp_path: Path) -> None:
    program = tmp_path / "cat"
    program.write_bytes(Path("/bin/cat").resolve().read_bytes())
    program.chmod(0o700)
    with subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"x")
        process.stdin.flush()
        process.stdout.read(1)  # it runs
        program.unlink()
        assert identify(process.pid, os.geteuid()).executable == str(program)
        process.stdin.close()


def test_nobody_speaks_for_another_user() -> None:
    with pytest.raises(Unidentified, match="another user"):
        identify(os.getpid(), os.geteuid() + 1)


def test_a_process_that_is_gone() -> None:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    with pytest.raises(Unidentified, match="cannot be seen"):
        identify(process.pid, os.geteuid())
