"""Synthetic campaigns on disk, made once a session and never changed; tests that edit one copy it first."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from analysis.synthetic import Design, Synthetic, Truth, campaign, write
from harness.records import Link, Stack

LEVELS = tuple(range(10, 101, 10))
QUIET = Truth(noise_fraction=0.005, block_slope_sd_ms=0.005)
SMALL = Design(levels=(1, 10, 20), blocks=3)


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Synthetic], Path]:
    root = tmp_path_factory.mktemp("campaigns")

    def make(name: str, synthetic: Synthetic) -> Path:
        write(root / name, synthetic)
        return root / name

    return make


@pytest.fixture(scope="session")
def small(made: Callable[[str, Synthetic], Path]) -> Path:
    """Three blocks of three levels, one failed attempt in six: too small for a verdict."""
    return made("small", campaign(SMALL, Truth(failure_rate=0.15), seed=7))


@pytest.fixture(scope="session")
def full(made: Callable[[str, Synthetic], Path]) -> Path:
    """Ten quiet blocks of ten levels over loopback; the truth is a difference of 0.1 ms per process."""
    return made("full", campaign(Design(levels=LEVELS), replace(QUIET, slope_difference_ms=0.1), seed=3))


@pytest.fixture(scope="session")
def lan(made: Callable[[str, Synthetic], Path]) -> Path:
    return made("lan", campaign(Design(levels=LEVELS, link=Link.LAN), QUIET, seed=4))


@pytest.fixture(scope="session")
def remote(made: Callable[[str, Synthetic], Path]) -> Path:
    truth = replace(QUIET, slope_difference_ms=-1.0, intercept_ms=60.0)
    return made("remote", campaign(Design(levels=LEVELS, link=Link.REMOTE), truth, seed=5))


@pytest.fixture(scope="session")
def aa(made: Callable[[str, Synthetic], Path]) -> Path:
    cost = Truth().cpu_s_per_mb[0]
    design = Design(levels=LEVELS, stacks=(Stack.OPENSSL, Stack.OPENSSL))
    return made("aa", campaign(design, replace(QUIET, cpu_s_per_mb=(cost, cost)), seed=6))


@pytest.fixture(scope="session")
def injected(made: Callable[[str, Synthetic], Path]) -> Path:
    """An A/A campaign whose plan put 0.25 ms per process into the second arm."""
    cost = Truth().cpu_s_per_mb[0]
    design = Design(levels=LEVELS, stacks=(Stack.OPENSSL, Stack.OPENSSL), inject_ms_per_process=0.25)
    return made("injected", campaign(design, replace(QUIET, cpu_s_per_mb=(cost, cost)), seed=9))


@pytest.fixture(scope="session")
def empty(made: Callable[[str, Synthetic], Path]) -> Path:
    return made("empty", replace(campaign(SMALL, Truth(), seed=8), trials=(), samples=()))


@pytest.fixture
def copied(small: Path, tmp_path: Path) -> Path:
    """A copy of the small campaign that a test may break; without Parquet files."""
    target = tmp_path / "copied"
    shutil.copytree(small, target, ignore=shutil.ignore_patterns("*.parquet", "*.html", "figure4.*", "verdict.json"))
    return target
