from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from analysis.arithmetic import common

CPUINFO = "processor\t: 0\nflags\t\t: fpu sse2 {more}\nbugs\t\t:\n"


def test_processors_that_have_what_all_have_compute_alike() -> None:
    small, large = (common("x86_64", CPUINFO.format(more=more)) for more in ("avx avx2 fma", "avx2 fma avx512f"))
    assert small == large
    assert set(small) == {"OPENBLAS_CORETYPE", "OPENBLAS_NUM_THREADS", "NPY_DISABLE_CPU_FEATURES"}


@pytest.mark.parametrize(
    ("machine", "cpuinfo"),
    [("x86_64", CPUINFO.format(more="avx fma")), ("x86_64", ""), ("aarch64", CPUINFO.format(more="avx2 fma"))],
)
def test_other_processors_are_left_alone(machine: str, cpuinfo: str) -> None:
    assert common(machine, cpuinfo) == {}


@pytest.mark.skipif(
    not common(platform.machine(), Path("/proc/cpuinfo").read_text()), reason="this processor has no AVX2 and FMA"
)
def test_a_verdict_has_the_same_digits_whatever_kernels_the_libraries_would_choose(full: Path) -> None:
    command = [sys.executable, "-m", "analysis", "regression", "--json", str(full)]
    said = set()
    for kernels in ("Prescott", "Sandybridge", "Haswell"):
        environment = os.environ | {"OPENBLAS_CORETYPE": kernels, "OPENBLAS_NUM_THREADS": "2"}
        said.add(subprocess.run(command, env=environment, capture_output=True, check=True).stdout)
    assert len(said) == 1
