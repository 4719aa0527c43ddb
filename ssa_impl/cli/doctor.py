"""``ssa doctor``: one line for each fact on which a boundary or the daemon depends, and what ``ssa run`` would use."""

from __future__ import annotations

import json
import platform
import re
from pathlib import Path
from typing import NamedTuple

from ..boundary import probe
from ..hardening import rehearsal
from ..hardening.process import Hardening

_NEEDED = (5, 14)
_SCOPES = {
    0: "every process of a user may be traced by that user",
    1: "descendants may be traced, which is what a supervisor needs",
    2: "only CAP_SYS_PTRACE may trace",
    3: "nobody may trace, until the next boot",
}


_CONFINEMENTS = {
    "Landlock": ("ABI {}: ssad's workers reach no files but their own", "workers may read what their user may"),
    "seccomp filter": (
        "ssad's workers start no programs and reach no other processes",
        "workers may make any system call",
    ),
}
"""what each does where it is in force, and what is missing where it is not"""


class Fact(NamedTuple):
    """``ok`` is None for what could not be tried; ``advice`` says what would make it work."""

    name: str
    ok: bool | None
    found: str
    advice: str = ""


class Examination(NamedTuple):
    """All facts; ``boundary`` is "seccomp", "preload", or "" when neither works."""

    facts: list[Fact]
    boundary: str
    why: str


def examine(daemon: Path) -> Examination:
    """Try everything."""
    trial, preload = probe.try_seccomp(), probe.try_preload()
    facts = [
        _kernel(platform.release()),
        _tried("seccomp notification", trial.notification, "a child's socket() was notified and answered"),
        _outer(trial.outer_notifier()),
        _tried("process_vm_readv", trial.memory, "a child's memory can be read"),
        _tried("pidfd_getfd", trial.descriptors, "a child's descriptor can be taken"),
        _yama(probe.ptrace_scope()),
        _tried("preload library", preload, "a program was run with it"),
        *_hardening(rehearsal.rehearse()),
        _tried("pidfd", rehearsal.pidfd(), "the daemon can wait for a process by descriptor"),
        _daemon(daemon),
    ]
    return Examination(facts, *choose(trial.why_not(), preload))


def choose(seccomp: str, preload: str) -> tuple[str, str]:
    """Return what `ssa run` uses and why, given the obstacle of each boundary ("" for none)."""
    if not seccomp:
        return "seccomp", "it works here, and serves every program, static ones too"
    if not preload:
        return "preload", f"seccomp does not work here ({seccomp}); dynamically linked programs only"
    return "", f"seccomp: {seccomp}; preload: {preload}"


def report(examination: Examination, *, as_json: bool) -> str:
    """Return the text, or the JSON object, that the command prints."""
    if as_json:
        facts = [fact._asdict() for fact in examination.facts]
        return (
            json.dumps({"facts": facts, "boundary": examination.boundary or None, "why": examination.why}, indent=2)
            + "\n"
        )
    words = {True: "ok", False: "no", None: "?"}
    lines = [
        f"{words[fact.ok]:<3} {fact.name:<21} {fact.found}{': ' + fact.advice if fact.advice else ''}"
        for fact in examination.facts
    ]
    boundary = examination.boundary or "no boundary"
    return "\n".join([*lines, "", f"ssa run uses {boundary}: {examination.why}", ""])


def _kernel(release: str) -> Fact:
    numbers = re.match(r"(\d+)\.(\d+)", release)
    ok = numbers is not None and (int(numbers[1]), int(numbers[2])) >= _NEEDED
    needed = ".".join(map(str, _NEEDED))
    return Fact("kernel", ok, f"Linux {release}", "" if ok else f"the seccomp boundary needs {needed} or newer")


def _tried(name: str, obstacle: str | None, works: str) -> Fact:
    if obstacle is None:
        return Fact(name, None, "not tried, since there was no notification")
    reason, _, advice = obstacle.partition(": ")
    return Fact(name, False, reason, advice) if obstacle else Fact(name, True, works)


def _outer(there: bool | None) -> Fact:
    name = "no outer notifier"
    if there is None:
        return Fact(name, None, "cannot be told, since no filter can be installed")
    if there:
        return Fact(name, False, "this process is under a notifying filter", "run `ssa` outside of it")
    return Fact(name, True, "no other notifying filter is in the way")


def _yama(scope: int | None) -> Fact:
    name = "ptrace_scope"
    if scope is None:
        return Fact(name, True, "Yama is not there, and restricts nothing")
    advice = "" if scope < 2 else "set kernel.yama.ptrace_scope to 1"
    return Fact(name, scope < 2, f"{scope}: {_SCOPES.get(scope, 'unknown')}", advice)


def _hardening(worker: Hardening | str) -> list[Fact]:
    """Say what ssad's workers would be under."""
    if isinstance(worker, str):
        none = "not tried, since a worker cannot be hardened at all"
        return [_tried("no new privileges", worker, ""), *(Fact(name, None, none) for name in _CONFINEMENTS)]
    return [
        Fact("no new privileges", True, "ssad's workers gain nothing by starting a program"),
        *(
            _confinement(name, in_force, worker.missing)
            for name, in_force in zip(_CONFINEMENTS, (worker.landlock_abi, worker.filtered), strict=True)
        ),
    ]


def _confinement(name: str, in_force: int, missing: tuple[str, ...]) -> Fact:
    works, without = _CONFINEMENTS[name]
    if in_force:
        return Fact(name, True, works.format(in_force))
    reason, _, advice = next((why for why in missing if name in why), "it cannot be used").partition(": ")
    return Fact(name, False, f"{reason}; {without}", advice)


def _daemon(path: Path) -> Fact:
    obstacle = probe.is_reachable(path)
    if not obstacle:
        return Fact("ssad", True, f"listens at {path}")
    return Fact("ssad", False, f"cannot be reached at {path}: {obstacle}", "start it, or name its place with --socket")
