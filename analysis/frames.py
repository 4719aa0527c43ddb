"""Which trials enter the fit, and what was left out and why.  Pure.

Columns made here: ``campaign_index``; ``block_id`` (a block of one campaign is never that of another);
``arm`` (0 the baseline, 1 the other); ``impl`` (the arm as a category, baseline first); ``ms`` (elapsed);
``megabytes`` (n * size / 1e6); ``fate`` (:class:`Fate`); ``clients_s``, ``daemon_s``, ...: CPU seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import pandas as pd

from analysis.load import Campaign
from harness.records import Boundary, Link, Manifest, Profile, Stack

NS_PER_MS = 1e6
NS_PER_S = 1e9
BYTES_PER_MEGABYTE = 1e6
PARTIES = ("clients", "daemon", "boundary", "server")
NAMES = {
    Stack.OPENSSL: "OpenSSL",
    Stack.SSA: "SSA",
    Stack.PLAIN: "plain HTTP",
    Stack.OPENSSL_C: "OpenSSL in C",
    Stack.SSA_C: "SSA in C",
    Stack.STUNNEL: "stunnel",
    Stack.HAPROXY: "HAProxy",
}
SYNTHETIC_PRESET = "synthetic"


class Fate(StrEnum):
    """What became of a trial on its way to the fit."""

    USED = "used"
    FAILED = "failed"
    TIMEOUT = "timeout"
    INVALID = "invalid"
    ABORTED = "aborted"
    PARTNER = "ok, but the other trial of its pair was not"
    ALONE = "ok, but the other trial of its pair was never run"
    SURPLUS = "ok, but an earlier attempt of its pair is complete"


@dataclass(frozen=True)
class Place:
    """Where trials must be alike to share one fit: the link, what the clock encloses, the SSA's boundary."""

    link: Link
    profile: Profile
    boundary: Boundary


def places(manifest: Manifest) -> tuple[Place, ...]:
    """Every place at which a campaign has pairs, in its plan's order."""
    return tuple(Place(link, profile, boundary) for link, profile in manifest.parts for boundary in manifest.boundaries)


@dataclass(frozen=True)
class Scenario:
    """Campaigns that share one fit, at one place.

    ``trials`` is every trial; ``rows`` those that enter the fit; ``pairs`` the same by pair (``ms_0``,
    ``ms_1`` and ``diff``, which is other minus baseline).
    """

    campaigns: tuple[Campaign, ...]
    trials: pd.DataFrame
    rows: pd.DataFrame
    pairs: pd.DataFrame
    place: Place

    @property
    def manifest(self) -> Manifest:
        """The first campaign's; the others agree in all that the analysis obeys."""
        return self.campaigns[0].manifest

    @property
    def names(self) -> tuple[str, ...]:
        """The campaigns' names."""
        return tuple(campaign.manifest.campaign for campaign in self.campaigns)

    @property
    def link(self) -> Link:
        return self.place.link

    @property
    def profile(self) -> Profile:
        return self.place.profile

    @property
    def boundary(self) -> Boundary:
        return self.place.boundary

    @property
    def is_aa(self) -> bool:
        """Both arms are the same stack."""
        return self.manifest.stacks[0] == self.manifest.stacks[1]

    @property
    def has_floor(self) -> bool:
        """One arm is plain HTTP: what the other costs above it is told, and nothing is judged."""
        return not self.is_aa and Stack.PLAIN in self.manifest.stacks

    @property
    def is_2018(self) -> bool:
        """Measured by the published design, which is not a fair one: told as it would have reported, never judged."""
        return self.profile is Profile.PAPER_2018

    @property
    def injected_ms(self) -> float:
        """The delay that the plan put into the other arm, ms per process; 0 for none."""
        return self.manifest.inject_ms_per_process

    @property
    def is_synthetic(self) -> bool:
        return any(campaign.manifest.preset == SYNTHETIC_PRESET for campaign in self.campaigns)

    @property
    def arms(self) -> tuple[str, str]:
        """The arms as people read them, baseline first."""
        return arm_names(self.manifest, self.boundary)

    @property
    def title(self) -> str:
        """What a picture of it says of itself: arms, link, profile, and how much was measured."""
        link = f"{self.link} link (emulated)" if self.link.is_emulated else f"{self.link} link"
        size = f"{self.pairs['n'].nunique()} levels of n, {self.pairs['block_id'].nunique()} blocks"
        baseline, other = self.arms
        return f"{other} against {baseline}, {link}, profile {self.profile}; {size}, {len(self.pairs)} pairs"

    @property
    def complete_blocks(self) -> int:
        """Blocks in which every planned level has a used pair."""
        planned = pd.Series([len(set(campaign.manifest.levels)) for campaign in self.campaigns])
        levels = self.pairs.groupby(["campaign_index", "block_id"])["n"].nunique()
        return int((levels.to_numpy() == planned[levels.index.get_level_values(0)].to_numpy()).sum())


def arm_names(manifest: Manifest, boundary: Boundary = Boundary.SECCOMP) -> tuple[str, str]:
    """SSA, OpenSSL; in an A/A campaign with A and B behind it.  Baseline first.

    The SSA's boundary is named in campaigns that know another one than seccomp, and a delay that was injected
    into the other arm wherever there is one.
    """
    names = dict(NAMES)
    if manifest.boundaries != (Boundary.SECCOMP,):
        names |= {stack: f"{name} {boundary}" for stack, name in NAMES.items() if stack.is_ssa}
    first, second = (names[stack] for stack in manifest.stacks)
    if first == second:
        first, second = f"{first} A", f"{second} B"
    if manifest.inject_ms_per_process:
        second = f"{second} held back {manifest.inject_ms_per_process:g} ms per process"
    return first, second


def at_place(trials: pd.DataFrame, manifest: Manifest, place: Place) -> pd.DataFrame:
    """The trials of the pairs at one place; a pair whose SSA trial never ran counts for the first boundary."""
    here = trials[(trials["link"] == str(place.link)) & (trials["profile"] == str(place.profile))]
    if len(manifest.boundaries) == 1:
        return here
    told = here.groupby(["block", "pair"])["boundary"].transform("first")
    return here[told.fillna(str(manifest.boundaries[0])) == str(place.boundary)]


def derive(
    trials: pd.DataFrame, manifest: Manifest, campaign_index: int = 0, boundary: Boundary = Boundary.SECCOMP
) -> pd.DataFrame:
    """The trials of one campaign with the columns of this module's docstring."""
    is_other = trials["stack"] != str(manifest.stacks[0])
    arm = trials["arm"].fillna(is_other.astype("Int64")).to_numpy(dtype=int)
    derived = trials.assign(
        campaign_index=campaign_index,
        block_id=[f"{campaign_index}.{block:03d}" for block in trials["block"]],
        arm=arm,
        impl=pd.Categorical.from_codes(arm, categories=pd.Index(arm_names(manifest, boundary))),
        n=trials["n"].astype(int),
        position=trials["position"].astype(int),
        ms=_floats(trials["elapsed_ns"]) / NS_PER_MS,
        megabytes=_floats(trials["n"]) * _floats(trials["size_bytes"]) / BYTES_PER_MEGABYTE,
    )
    for party in PARTIES:
        derived[f"{party}_s"] = _floats(trials[f"cpu_{party}_total_ns"]) / NS_PER_S
    derived["fate"] = _fates(derived)
    return derived


def _floats(column: pd.Series) -> pd.Series:
    return column.astype("Float64").astype(float)


def _fates(trials: pd.DataFrame) -> pd.Series:
    """A pair is used when both its trials are ok in one attempt; of several such attempts the first."""
    attempt = ["block", "pair", "attempt"]
    is_ok = trials["outcome"] == "ok"
    arms_run = trials.groupby(attempt)["arm"].transform("nunique")
    arms_ok = trials["arm"].where(is_ok).groupby([trials[key] for key in attempt]).transform("nunique")
    is_complete = arms_ok == 2
    tries = trials["attempt"].where(is_complete)
    is_first = tries == tries.groupby([trials["block"], trials["pair"]]).transform("min")
    fate = trials["outcome"].astype(object).where(~is_ok, str(Fate.PARTNER))
    fate = fate.mask(is_ok & (arms_run < 2), str(Fate.ALONE))
    fate = fate.mask(is_complete & is_ok, str(Fate.SURPLUS))
    return fate.mask(is_complete & is_ok & is_first.fillna(False), str(Fate.USED))


def paired(rows: pd.DataFrame) -> pd.DataFrame:
    """One row a pair of the used trials ``rows``, sorted by block and pair."""
    keys = ["campaign_index", "block_id", "pair", "n"]
    values = ["ms", "position", "sequence"]
    base, other = (rows[rows["arm"] == arm].set_index(keys)[values] for arm in (0, 1))
    pairs = base.add_suffix("_0").join(other.add_suffix("_1"), how="inner").reset_index()
    pairs["diff"] = pairs["ms_1"] - pairs["ms_0"]
    return pairs.sort_values(["block_id", "pair"], ignore_index=True)


def left_out(trials: pd.DataFrame) -> pd.DataFrame:
    """Trials by fate and arm; rows: every fate that occurs, 'used' first; columns: the arms."""
    counts = trials.groupby(["fate", "impl"], observed=False).size().unstack("impl", fill_value=0)
    return counts.loc[[str(fate) for fate in Fate if str(fate) in counts.index]]
