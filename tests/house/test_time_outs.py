"""The page of time-outs is the code's: every limit stands in it, with its number."""

from __future__ import annotations

import ast
import re
from dataclasses import fields
from pathlib import Path

from ssa_impl.policy.model import DaemonLimits, Profile
from ssa_impl.validation.model import DEFAULT_TIMEOUT_S

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "administrators" / "operation.md").read_text("utf-8")
ROWS = re.findall(r"^\| [^|]+ \| ([\d.]+) \| [^|]+ \| `([\w.]+)` \|$", PAGE, re.MULTILINE)
IN_POLICY = {
    **{each.name: each.default for kind in (Profile, DaemonLimits) for each in fields(kind)},
    "timeout_s": DEFAULT_TIMEOUT_S,
}
SHORTER_IS_A_PAUSE_S = 0.2
NO_LIMIT = {  # at the applications' end, where nobody waits
    ("boundary.seccomp.supervisor", 5.0): "how often it looks for sockets that nobody has any more",
    ("validation.model", DEFAULT_TIMEOUT_S): "the policy's default, timeout_s",
}


def limits() -> set[tuple[str, float]]:
    """Each constant of a module that is a number of seconds: (module, seconds)."""
    found = set()
    for path in (ROOT / "ssa_impl").rglob("*.py"):
        module = ".".join(path.relative_to(ROOT / "ssa_impl").with_suffix("").parts)
        for statement in ast.parse(path.read_text("utf-8")).body:
            if not isinstance(statement, ast.Assign) or not isinstance(statement.value, ast.Constant):
                continue
            if any(isinstance(name, ast.Name) and name.id.endswith("_S") for name in statement.targets):
                found.add((module, float(statement.value.value)))  # type: ignore[arg-type]
    return {(module, seconds) for module, seconds in found if seconds > SHORTER_IS_A_PAUSE_S}


def test_every_limit_is_in_the_page_and_every_row_is_true() -> None:
    stated = {(where, float(seconds)) for seconds, where in ROWS if where not in IN_POLICY}
    assert stated == limits() - set(NO_LIMIT)


def test_what_the_policy_sets_is_its_default() -> None:
    stated = {where: float(seconds) for seconds, where in ROWS if where in IN_POLICY}
    assert len(stated) >= 4
    assert stated == {name: IN_POLICY[name] for name in stated}
    limiting = {
        each.name for kind in (Profile, DaemonLimits) for each in fields(kind) if each.name.endswith("_timeout_s")
    }
    assert limiting <= set(stated), "a time-out of the policy is missing from the page"
