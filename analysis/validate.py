"""Do a campaign's rows belong together?  Pure checks on whole columns; complaints name file, line and what.

A row's line is its place in the JSONL file, which the Parquet file keeps.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.errors import DataError
from harness.records import Look, Manifest, Outcome

KEY = ["trial_id", "attempt"]


def _refuse_first(bad: pd.Series, path: Path, what: str) -> None:
    """Complain about the first row where ``bad`` holds (a missing comparison counts as bad)."""
    flags = bad.fillna(True).to_numpy(dtype=bool)
    if flags.any():
        raise DataError(f"{path}, line {int(np.argmax(flags)) + 1}: {what}")


def check_trials(trials: pd.DataFrame, manifest: Manifest, path: Path) -> None:
    """Raise :class:`DataError` unless every trial belongs to the plan in ``manifest`` and to no other."""
    for name in ("campaign", "server", "size_bytes"):
        expected = getattr(manifest, name)
        what = f"{name} is not {expected!s}, as plan.json says; is it a line of another campaign?"
        _refuse_first(trials[name] != expected, path, what)
    _check_parts(trials, manifest, path)
    stacks = [str(stack) for stack in manifest.stacks]
    _refuse_first(~trials["stack"].isin(stacks), path, f"stack is none of the plan's: {', '.join(stacks)}")
    boundaries = [str(boundary) for boundary in manifest.boundaries]
    what = f"boundary is none of the plan's: {', '.join(boundaries)}"
    _refuse_first(trials["boundary"].notna() & ~trials["boundary"].isin(boundaries), path, what)
    _refuse_first(~trials["n"].isin(manifest.levels), path, "n is none of the plan's levels")
    _refuse_first(trials["block"] >= manifest.blocks, path, f"the plan's blocks are 0 to {manifest.blocks - 1}")
    _check_arms(trials, stacks, path)
    _check_outcomes(trials, path)
    _check_keys(trials, path)


def _check_parts(trials: pd.DataFrame, manifest: Manifest, path: Path) -> None:
    """Every trial belongs to one of the campaign's links and profiles, and both trials of a pair to the same."""
    for k, name in enumerate(("link", "profile")):
        told = list(dict.fromkeys(str(part[k]) for part in manifest.parts))
        what = f"{name} is not {' or '.join(told)}, as plan.json says; is it a line of another campaign?"
        _refuse_first(~trials[name].isin(told), path, what)
        parts = trials.groupby(["block", "pair"])[name].transform("nunique")
        _refuse_first(parts > 1, path, f"the trials of one pair have different {name}s")


def _check_arms(trials: pd.DataFrame, stacks: list[str], path: Path) -> None:
    if stacks[0] == stacks[1]:
        _refuse_first(trials["arm"].isna(), path, "an A/A campaign needs 'arm' in every trial")
    told = trials["arm"].map({0: stacks[0], 1: stacks[1]})
    contradicts = trials["arm"].notna() & (told != trials["stack"])
    _refuse_first(contradicts, path, "arm and stack contradict each other")


def _check_outcomes(trials: pd.DataFrame, path: Path) -> None:
    outcomes = sorted(str(outcome) for outcome in Outcome)
    _refuse_first(~trials["outcome"].isin(outcomes), path, f"the outcome is none of {', '.join(outcomes)}")
    untimed = (trials["outcome"] == "ok") & ~(trials["elapsed_ns"].fillna(0) > 0)
    _refuse_first(untimed, path, "the outcome is ok, but there is no elapsed time")


def _check_keys(trials: pd.DataFrame, path: Path) -> None:
    for key in (KEY, ["sequence"]):
        _refuse_first(trials.duplicated(key), path, f"the same {' and '.join(key)} stands in an earlier line")
    levels = trials.groupby(["block", "pair"])["n"].transform("nunique")
    _refuse_first(levels > 1, path, "the trials of one pair have different n")


def check_samples(samples: pd.DataFrame, trials: pd.DataFrame, path: Path) -> None:
    """Raise :class:`DataError` if a sample is foreign or stands twice, or an ok trial lacks one."""
    twice = samples.duplicated([*KEY, "process"])
    _refuse_first(twice, path, "the same process of this trial stands in an earlier line")
    known, rows = pd.MultiIndex.from_frame(trials[KEY]), pd.MultiIndex.from_frame(samples[KEY])
    foreign = pd.Series(~rows.isin(known))
    _refuse_first(foreign, path, "its trial was never recorded; 'python -m harness resume' cuts such lines off")
    counted = samples.groupby(KEY).size().reindex(known, fill_value=0).to_numpy()
    is_ok = (trials["outcome"] == "ok").to_numpy(dtype=bool)
    wrong = is_ok & (counted != trials["n"].to_numpy(dtype=int))
    if wrong.any():
        first = int(np.argmax(wrong))
        trial = trials.iloc[first]
        what = f"trial {trial['trial_id']} is ok with n = {trial['n']}, but has {counted[first]} samples"
        raise DataError(f"{path}: {what}")


def check_looks(looks: Sequence[Look], trials: pd.DataFrame, manifest: Manifest, path: Path) -> None:
    """Raise :class:`DataError` if there are looks without a rule, or trials behind the one that ended the campaign."""
    if looks and manifest.stopping is None:
        raise DataError(f"{path}: has looks, but plan.json has no rule for them; is it a file of another campaign?")
    for number, look in enumerate(looks, 1):
        if look.stop and (number < len(looks) or (trials["block"] >= look.blocks).any()):
            what = f"the campaign ended here, after {look.blocks} blocks, and yet something was recorded later"
            raise DataError(f"{path}, line {number}: {what}")
