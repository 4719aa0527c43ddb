"""The machine and its operating system, as far as they decide what is measured.

What a kernel or container does not show is None (or empty), never an error: every file is looked for, none
expected. Texts are read by pure functions (``..._of``).
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import resource
import shutil
import subprocess
from pathlib import Path

SYSCTLS = (
    "kernel/sched_autogroup_enabled",
    "net/core/default_qdisc",
    "net/core/netdev_max_backlog",
    "net/core/rmem_max",
    "net/core/somaxconn",
    "net/core/wmem_max",
    "net/ipv4/ip_local_port_range",
    "net/ipv4/tcp_allowed_congestion_control",
    "net/ipv4/tcp_congestion_control",
    "net/ipv4/tcp_ecn",
    "net/ipv4/tcp_no_metrics_save",
    "net/ipv4/tcp_rmem",
    "net/ipv4/tcp_sack",
    "net/ipv4/tcp_slow_start_after_idle",
    "net/ipv4/tcp_timestamps",
    "net/ipv4/tcp_wmem",
    "kernel/yama/ptrace_scope",
)

VARIABLES = (
    "GLIBC_TUNABLES",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "MALLOC_ARENA_MAX",
    "OPENSSL_CONF",
    "OPENSSL_MODULES",
    "OPENSSL_ia32cap",
    "PYTHONDEVMODE",
    "PYTHONMALLOC",
    "PYTHONOPTIMIZE",
    "PYTHONPATH",
    "SSLKEYLOGFILE",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
)
"""Environment variables that change what TLS, the allocator or the interpreter do."""

_CPU = Path("/sys/devices/system/cpu")
_NODES = Path("/sys/devices/system/node")


def capture() -> dict[str, object]:
    """Everything about the machine, as plain JSON values."""
    return {
        "id_sha256": _identity(),
        "cpu": _cpu(),
        "memory_bytes": memory_of(text(Path("/proc/meminfo")) or ""),
        "virtualisation": _virtualisation(),
        "numa_nodes": len(list(_NODES.glob("node[0-9]*"))) or None,
        "kernel": {"release": platform.release(), "version": platform.version(), "arch": platform.machine()},
        "distribution": _distribution(),
        "limits": {"nofile": _limit(resource.RLIMIT_NOFILE), "nproc": _limit(resource.RLIMIT_NPROC)},
        "load_average": list(os.getloadavg()),
        "sysctls": {name.replace("/", "."): text(Path("/proc/sys", name)) for name in SYSCTLS},
        "environment": {name: os.environ[name] for name in VARIABLES if name in os.environ},
    }


def text(path: Path) -> str | None:
    """What a small file of the kernel says, stripped; None when it is not there or may not be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def _identity() -> str | None:
    """Tells two machines apart without telling which they are."""
    found = text(Path("/etc/machine-id"))
    return hashlib.sha256(f"ssa campaign {found}".encode()).hexdigest()[:16] if found else None


def _cpu() -> dict[str, object]:
    governors = {text(path) for path in _CPU.glob("cpu[0-9]*/cpufreq/scaling_governor")}
    return {
        **cpu_of(text(Path("/proc/cpuinfo")) or ""),
        "usable": len(os.sched_getaffinity(0)),
        "governors": sorted(governor for governor in governors if governor),
        "boost": boost_of(text(_CPU / "intel_pstate/no_turbo"), text(_CPU / "cpufreq/boost")),
        "smt": {"1": True, "0": False}.get(text(_CPU / "smt/active") or ""),
    }


def cpu_of(cpuinfo: str) -> dict[str, object]:
    """Model, logical and physical cores, and whether a hypervisor is seen, from /proc/cpuinfo."""
    models = re.findall(r"^(?:model name|Model)[ \t]*:[ \t]*(.+)$", cpuinfo, re.MULTILINE)
    logical = len(re.findall(r"^processor[ \t]*:", cpuinfo, re.MULTILINE))
    cores = set()
    for block in cpuinfo.split("\n\n"):
        fields = dict(re.findall(r"^(physical id|core id)[ \t]*:[ \t]*(\d+)", block, re.MULTILINE | re.ASCII))
        if len(fields) == 2:
            cores.add((fields["physical id"], fields["core id"]))
    flags = re.search(r"^flags[ \t]*:(.*)$", cpuinfo, re.MULTILINE)
    return {
        "model": models[0].strip() if models else None,
        "logical": logical or None,
        "physical": len(cores) or None,
        "hypervisor": "hypervisor" in flags[1].split() if flags else None,
    }


def boost_of(no_turbo: str | None, boost: str | None) -> bool | None:
    """Whether the clock may rise above its nominal rate; None when neither driver says."""
    if no_turbo in {"0", "1"}:
        return no_turbo == "0"
    return boost == "1" if boost in {"0", "1"} else None


def memory_of(meminfo: str) -> int | None:
    """MemTotal of /proc/meminfo in bytes."""
    match = re.search(r"^MemTotal:\s*(\d+) kB$", meminfo, re.MULTILINE | re.ASCII)
    return int(match[1]) * 1024 if match else None


def _virtualisation() -> str | None:
    """What systemd-detect-virt says (kvm, docker, none ...); None where there is no such program."""
    program = shutil.which("systemd-detect-virt")
    if program is None:
        return None
    try:
        done = subprocess.run([program], capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


def _distribution() -> str | None:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME")
    except OSError:
        return None


def _limit(which: int) -> dict[str, int | None]:
    """Soft and hard limit; None is unlimited."""
    soft, hard = (None if value == resource.RLIM_INFINITY else value for value in resource.getrlimit(which))
    return {"soft": soft, "hard": hard}
