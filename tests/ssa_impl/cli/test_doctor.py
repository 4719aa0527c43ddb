"""``ssa doctor``: facts into lines and JSON, and the choice between the boundaries; the trials are made up here."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ssa_impl.boundary import probe
from ssa_impl.boundary.probe import SeccompTrial
from ssa_impl.cli import doctor
from ssa_impl.hardening import landlock, rehearsal
from ssa_impl.hardening.process import Hardening

Machine = Callable[..., doctor.Examination]
BUSY = "the process is already under another notifying filter: one per process tree is allowed"
WORKS = SeccompTrial("", "", "")
CONFINED = Hardening(1000, (), landlock_abi=7, filtered=True)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Return a function that examines a machine where the trials come out like this."""

    def examine(
        trial: SeccompTrial = WORKS,
        preload: str = "",
        scope: int | None = None,
        daemon: str = "",
        release: str = "6.18.0",
        worker: Hardening | str = CONFINED,
    ) -> doctor.Examination:
        monkeypatch.setattr(probe, "try_seccomp", lambda: trial)
        monkeypatch.setattr(probe, "try_preload", lambda: preload)
        monkeypatch.setattr(probe, "ptrace_scope", lambda: scope)
        monkeypatch.setattr(probe, "is_reachable", lambda _path: daemon)
        monkeypatch.setattr(rehearsal, "rehearse", lambda: worker)
        monkeypatch.setattr("platform.release", lambda: release)
        return doctor.examine(Path("/place/control.sock"))

    return examine


def facts(examination: doctor.Examination) -> dict[str, bool | None]:
    return {fact.name: fact.ok for fact in examination.facts}


def test_all_is_well(machine: Machine) -> None:
    examination = machine(scope=1)
    assert set(facts(examination).values()) == {True}
    assert examination.boundary == "seccomp"
    assert all(fact.advice == "" for fact in examination.facts)


OBSTACLES: dict[str, tuple[SeccompTrial, dict[str, bool | None]]] = {
    "outer notifier": (SeccompTrial(BUSY), {"seccomp notification": False, "no outer notifier": False}),
    "no seccomp": (
        SeccompTrial("the container forbids seccomp(2): allow it"),
        {"seccomp notification": False, "no outer notifier": None, "process_vm_readv": None, "pidfd_getfd": None},
    ),
    "no memory": (SeccompTrial("", "process_vm_readv on a child fails: x", ""), {"process_vm_readv": False}),
    "no descriptors": (SeccompTrial("", "", "pidfd_getfd on a child fails: x"), {"pidfd_getfd": False}),
}


@pytest.mark.parametrize("obstacle", OBSTACLES)
def test_without_seccomp_it_is_preload(machine: Machine, obstacle: str) -> None:
    trial, expected = OBSTACLES[obstacle]
    examination = machine(trial)
    assert facts(examination) | expected == facts(examination)
    assert examination.boundary == "preload"
    assert trial.why_not() in examination.why


def test_neither(machine: Machine) -> None:
    examination = machine(SeccompTrial(BUSY), preload="it was not built: install a C compiler")
    assert examination.boundary == ""
    assert BUSY in examination.why
    assert "install a C compiler" in examination.why
    text = doctor.report(examination, as_json=False)
    assert text.splitlines()[-1].startswith("ssa run uses no boundary: ")
    assert json.loads(doctor.report(examination, as_json=True))["boundary"] is None


def test_preload_may_be_missing_where_seccomp_works(machine: Machine) -> None:
    examination = machine(preload="it was not built: install a C compiler")
    assert facts(examination)["preload library"] is False
    assert examination.boundary == "seccomp"


@pytest.mark.parametrize(
    ("release", "ok"), [("5.13.9", False), ("5.14.0-rc1", True), ("6.1.0-9-amd64", True), ("x", False)]
)
def test_kernel(machine: Machine, release: str, ok: bool) -> None:
    examination = machine(release=release)
    fact = examination.facts[0]
    assert (fact.name, fact.ok, fact.found) == ("kernel", ok, f"Linux {release}")
    assert bool(fact.advice) is not ok


@pytest.mark.parametrize(("scope", "ok"), [(None, True), (0, True), (1, True), (2, False), (3, False), (7, False)])
def test_yama(machine: Machine, scope: int | None, ok: bool) -> None:
    assert facts(machine(scope=scope))["ptrace_scope"] is ok


def fact(examination: doctor.Examination, name: str) -> doctor.Fact:
    return next(fact for fact in examination.facts if fact.name == name)


def test_what_workers_would_lack_and_what_would_make_it_work(machine: Machine) -> None:
    no_landlock = "this kernel has no Landlock: it needs CONFIG_SECURITY_LANDLOCK, and landlock in lsm="
    no_filter = "no seccomp filter: Function not implemented"
    bare = machine(worker=Hardening(1000, (), missing=(no_landlock, no_filter)))
    assert fact(bare, "Landlock") == doctor.Fact(
        "Landlock",
        False,
        "this kernel has no Landlock; workers may read what their user may",
        "it needs CONFIG_SECURITY_LANDLOCK, and landlock in lsm=",
    )
    assert fact(bare, "seccomp filter").ok is False
    assert fact(bare, "no new privileges").ok is True
    assert bare.boundary == "seccomp"  # applications are served all the same
    assert fact(machine(), "Landlock").found.startswith("ABI 7: ")


def test_a_worker_that_cannot_be_hardened_at_all(machine: Machine) -> None:
    found = facts(machine(worker="this process cannot be hardened: Operation not permitted"))
    assert (found["no new privileges"], found["Landlock"], found["seccomp filter"]) == (False, None, None)


def test_the_rehearsal_says_what_this_machine_has_and_leaves_this_process_as_it_was() -> None:
    before = Path("/proc/self/status").read_text("ascii")
    found = rehearsal.rehearse()
    assert isinstance(found, Hardening)
    assert found.landlock_abi == landlock.abi()
    assert bool(found.missing) is not (bool(found.landlock_abi) and found.filtered)
    for line in ("NoNewPrivs", "Seccomp", "CapEff"):
        assert [row for row in before.splitlines() if row.startswith(f"{line}:")] == [
            row for row in Path("/proc/self/status").read_text("ascii").splitlines() if row.startswith(f"{line}:")
        ]


def test_the_daemon_is_not_what_the_exit_code_is_about(machine: Machine) -> None:
    examination = machine(daemon="Connection refused")
    assert facts(examination)["ssad"] is False
    assert examination.boundary == "seccomp"
    assert "/place/control.sock" in doctor.report(examination, as_json=False)


def test_one_line_for_each_fact(machine: Machine) -> None:
    examination = machine(SeccompTrial("reason: advice"))
    lines = doctor.report(examination, as_json=False).splitlines()
    assert len(lines) == len(examination.facts) + 2
    assert "no  seccomp notification  reason: advice" in lines
    assert json.loads(doctor.report(examination, as_json=True))["facts"][1] == {
        "name": "seccomp notification",
        "ok": False,
        "found": "reason",
        "advice": "advice",
    }


def test_the_trials_themselves_leave_nothing_behind() -> None:
    """On this machine, whatever it allows."""
    before = sorted(path.name for path in Path("/proc/self/fd").iterdir())
    probe.try_seccomp()
    probe.is_reachable(Path("/nowhere/control.sock"))
    assert sorted(path.name for path in Path("/proc/self/fd").iterdir()) == before
    assert probe.is_reachable(Path("/nowhere/control.sock")) == "No such file or directory"
