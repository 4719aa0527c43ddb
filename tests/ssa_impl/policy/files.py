"""Policy files for tests, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ssa_impl.policy.complaints import PolicyFileErrors
from ssa_impl.policy.files import PolicyPaths
from ssa_impl.policy.load import load_policy
from ssa_impl.policy.policy import Policy


def write(path: Path, text: str) -> Path:
    """Write a file as an administrator does, its directory too; nobody else can write either."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o644)
    return path


def load(directory: Path, text: str = "", **drop_ins: str) -> Policy:
    """Load ``ssa.toml`` and drop-ins."""
    write(directory / "ssa.toml", text)
    for name, content in drop_ins.items():
        write(directory / "ssa.d" / f"{name}.toml", content)
    return load_policy(PolicyPaths(usual=directory))


def complaints(directory: Path, text: str, **drop_ins: str) -> list[str]:
    """Return all complaints about these files, without the directory's name."""
    with pytest.raises(PolicyFileErrors) as caught:
        load(directory, text, **drop_ins)
    assert str(caught.value) == "\n".join(map(str, caught.value.complaints))
    return [str(complaint).replace(f"{directory}/", "") for complaint in caught.value.complaints]
