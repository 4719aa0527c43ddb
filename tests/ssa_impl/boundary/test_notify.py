"""The kernel's structures and numbers against its own headers."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from ssa_impl.boundary.seccomp import filter as f
from ssa_impl.boundary.seccomp import notify as n

EXPECTED = {
    "sizeof(struct seccomp_notif)": n._NOTIF.size,
    "sizeof(struct seccomp_notif_resp)": n._RESPONSE.size,
    "sizeof(struct seccomp_notif_addfd)": n._ADDFD.size,
    "sizeof(struct seccomp_data)": 64,
    "offsetof(struct seccomp_notif, data)": 16,
    "offsetof(struct seccomp_data, args)": 16,
    "SECCOMP_IOCTL_NOTIF_RECV": n._IOCTL_RECV,
    "SECCOMP_IOCTL_NOTIF_SEND": n._IOCTL_SEND,
    "SECCOMP_IOCTL_NOTIF_ID_VALID": n._IOCTL_ID_VALID,
    "SECCOMP_IOCTL_NOTIF_ADDFD": n._IOCTL_ADDFD,
    "SECCOMP_USER_NOTIF_FLAG_CONTINUE": n._RESPONSE_CONTINUE,
    "SECCOMP_ADDFD_FLAG_SEND": n._ADDFD_SEND,
    "SECCOMP_SET_MODE_FILTER": n._SET_MODE_FILTER,
    "SECCOMP_FILTER_FLAG_NEW_LISTENER": n._FLAG_NEW_LISTENER,
    "SECCOMP_RET_USER_NOTIF": f.RET_USER_NOTIF,
    "SECCOMP_RET_ALLOW": f.RET_ALLOW,
    "PR_SET_NO_NEW_PRIVS": n._PR_SET_NO_NEW_PRIVS,
    "AUDIT_ARCH_X86_64": f.ARCHITECTURES["x86_64"].audit,
    "AUDIT_ARCH_AARCH64": f.ARCHITECTURES["aarch64"].audit,
    "sizeof(struct sock_filter)": 8,
}
SOURCE = """#include <stddef.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
"""


def test_constants_are_the_headers(tmp_path: Path) -> None:
    if (compiler := shutil.which("cc") or shutil.which("gcc")) is None:
        pytest.skip("no C compiler: install gcc to check the constants against the kernel's headers")
    arch = f.architecture()
    calls = {f"SYS_{name}": value for name, value in vars(arch).items() if name != "audit"}
    asserts = [f'_Static_assert(({what}) == {value}u, "{what}");' for what, value in {**EXPECTED, **calls}.items()]
    (tmp_path / "check.c").write_text(SOURCE + "\n".join(asserts))
    checked = subprocess.run(
        [compiler, "-fsyntax-only", str(tmp_path / "check.c")], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr
