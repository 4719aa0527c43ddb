"""The same digits on every machine: OpenBLAS and NumPy add up in an order that they choose by the processor.

Both have kernels for AVX2, which every x86-64 processor since about 2015 runs, and others for what some have besides.
``python -m analysis`` takes the former wherever there are some, so that a verdict computed on one machine is computed
again on another to the last digit.  On other processors the libraries choose, and ``verify`` says where digits differ.

The variables are those of OpenBLAS (README, "Setting the number of threads", OPENBLAS_CORETYPE) and of NumPy
("CPU build options", NPY_DISABLE_CPU_FEATURES); they are read when the libraries are loaded, and never again.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")
_NEEDED = frozenset({"avx2", "fma"})
_COMMON = {
    "OPENBLAS_CORETYPE": "Haswell",
    "OPENBLAS_NUM_THREADS": "1",
    "NPY_DISABLE_CPU_FEATURES": "X86_V4 AVX512_ICL AVX512_SPR",
}


def common(machine: str, cpuinfo: str) -> Mapping[str, str]:
    """Return the variables that a processor's arithmetic wants; none where it has not what all have.  Pure.

    Args:
        machine: the architecture, as uname(2) says it.
        cpuinfo: what /proc/cpuinfo says (proc(5)).
    """
    flags = next((line.partition(":")[2].split() for line in cpuinfo.splitlines() if line.startswith("flags")), [])
    return _COMMON if machine == "x86_64" and set(flags) >= _NEEDED else {}


def settle() -> None:
    """Let libraries that are loaded from now on compute as everywhere else."""
    try:
        cpuinfo = _CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return  # no processor known, none chosen: as on other processors
    os.environ.update(common(platform.machine(), cpuinfo))
