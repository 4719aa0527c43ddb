"""The deny list, executed: its BPF against the rule in plain words, and its numbers against the kernel's headers."""

from __future__ import annotations

import errno
import platform
import re
import shutil
import socket
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ssa_impl.hardening import filter as f
from tests.ssa_impl.boundary import bpf

WORD = st.integers(0, 2**32 - 1)
MACHINES = st.sampled_from(sorted(f.MACHINES))
CLONE_THREAD = 0x10000


def answer(machine: f.Machine, audit: int, number: int, first: int) -> int:
    """The rule, in plain words."""
    if audit != machine.audit or number & 0x40000000:
        return f.RET_ERRNO | errno.EPERM
    if number == machine.clone3:
        return f.RET_ERRNO | errno.ENOSYS
    if number == machine.clone:
        return f.RET_ALLOW if first & CLONE_THREAD else f.RET_ERRNO | errno.EPERM
    if number == machine.socket:
        allowed = first in {socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK}
        return f.RET_ALLOW if allowed else f.RET_ERRNO | errno.EAFNOSUPPORT
    denied = {row[machine.column] for row in f.DENIED.values()}
    return f.RET_ERRNO | errno.EPERM if number in denied else f.RET_ALLOW


@given(
    MACHINES, st.booleans(), st.integers(0, 500) | WORD.map(lambda word: word & 0x7FFFFFFF), st.integers(0, 50) | WORD
)
def test_the_program_is_the_rule(name: str, native: bool, number: int, first: int) -> None:
    machine = f.MACHINES[name]
    audit = machine.audit if native else 0x40000003
    data = bpf.seccomp_data(number, audit, (first, 0, 0, 0, 0, 0))
    assert bpf.run(f.build(machine), data) == answer(machine, audit, number, first)


@pytest.mark.parametrize("name", sorted(f.DENIED))
def test_each_named_call_is_refused_on_each_machine(name: str) -> None:
    for machine in f.MACHINES.values():
        number = f.DENIED[name][machine.column]
        if number >= 0:
            data = bpf.seccomp_data(number, machine.audit, (0,) * 6)
            assert bpf.run(f.build(machine), data) == f.RET_ERRNO | errno.EPERM


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc: the numbers are the kernel headers'")
def test_the_numbers_are_the_kernels() -> None:
    command = ["gcc", "-E", "-dM", "-include", "asm/unistd.h", "-x", "c", "/dev/null"]
    headers = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    kernels = {name: int(number) for name, number in re.findall(r"#define __NR_(\w+) (\d+)$", headers, re.MULTILINE)}
    machine = f.MACHINES[platform.machine()]
    looked_into = {name: getattr(machine, name) for name in ("socket", "clone", "clone3", "seccomp")}
    ours = {name: row[machine.column] for name, row in f.DENIED.items() if row[machine.column] >= 0} | looked_into
    known = {name: kernels[name] for name in ours if name in kernels}
    assert known == {name: ours[name] for name in known}
    assert set(ours) == set(known)
