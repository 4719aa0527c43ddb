"""The judgement: Holm over the confirmatory tests, then one of four words.  Pure.

Confirmatory are three tests: the slopes differ; the slopes are equivalent (inside both margins, so its p
value is the larger of the two); the CPU seconds per MB differ.  Holm holds the chance of any false claim
among them below alpha. Only when the slopes differ it is asked, at alpha, whether the difference lies
wholly beyond a margin.

===========  ========  ========  ===============================
differ       inside    beyond    word
===========  ========  ========  ===============================
no           yes       no        equivalent
yes          yes       no        different but inside the margin
yes          no        yes       different and relevant
yes          no        no        undecided (relevance is open)
no           no        any       undecided
===========  ========  ========  ===============================

*Relevant* is thus a claim that must be shown, like *equivalent*: an interval that reaches across the margin
shows neither.  An underpowered design gets no word at all.  In an A/A campaign the truth is known: nothing, or the
delay that the plan injected.  It gets no word, and ``aa_passed`` says whether the interval contains the truth
(for nothing: whether nothing was found).  A delay that was injected into another stack gets no word either.
A comparison with plain HTTP is told and not judged: it does less, so no confirmatory test is made.  Nor is one made
under the profile paper-2018, whose design is not a fair one: the numbers are those that it would have reported.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum

from pydantic import Field

from analysis.boundaries import BoundaryComparison
from analysis.checks import Checks
from analysis.cpu import CpuComparison
from analysis.equivalence import Equivalence
from analysis.estimates import Estimate, Frozen, Missing, Result
from analysis.models import SlopeFit
from analysis.paper import Published
from analysis.power import Design
from analysis.stopping import Stopped
from harness.records import Boundary, Judgement, Link, Profile

VERDICT_VERSION = 1


class Word(StrEnum):
    """EXPERIMENT.md section 6; there is no fifth."""

    EQUIVALENT = "equivalent"
    RELEVANT = "different and relevant"
    INSIDE = "different but inside the margin"
    UNDECIDED = "undecided"


class Confirmatory(Frozen):
    """One of the tests that Holm is applied to."""

    claim: str
    p: float
    p_holm: float


class Margins(Frozen):
    """Equivalence against both margins of the plan."""

    ms: Equivalence | Missing
    percent: Equivalence | Missing


class Counts(Frozen):
    """Trials by what became of them, over both arms; and samples are not counted here."""

    trials: int
    used: int
    by_fate: dict[str, int]


class Verdict(Frozen):
    """Everything that was found in one scenario; numbers as computed, never rounded."""

    campaigns: tuple[str, ...]
    is_synthetic: bool
    is_aa: bool
    link: Link
    profile: Profile
    server: str
    boundary: Boundary = Field(default=Boundary.SECCOMP, description="at which the SSA's clients were")
    baseline: str
    other: str
    size_bytes: int
    judgement: Judgement
    injected_ms_per_process: float = Field(default=0.0, description="put into the other arm by the plan")
    libraries: str = Field(default="", description="one sentence when the arms had different builds of OpenSSL")
    has_floor: bool = Field(default=False, description="one arm is plain HTTP: nothing is tested, there is no word")
    word: Word | None = Field(description="None when underpowered, A/A, an injected delay, a floor, paper-2018")
    aa_passed: bool | None = Field(description="A/A only: the truth was found, see the docstring; None if underpowered")
    slopes: SlopeFit | Missing
    difference_percent: Result
    equivalence: Margins
    confirmatory: tuple[Confirmatory, ...]
    cpu: CpuComparison
    design: Design
    checks: Checks | Missing
    boundaries: BoundaryComparison | None = Field(default=None, description="beside the campaign's first boundary")
    paper_model: Result
    published: tuple[Published, ...]
    counts: Counts
    stopping: tuple[Stopped, ...] = Field(default=(), description="of the campaigns that might end early")
    plan_sha256: tuple[str, ...]
    data_sha256: str = Field(description="of all trials, see analysis.study.data_sha256")
    versions: dict[str, str]

    @property
    def is_2018(self) -> bool:
        """Told as the 2018 design would have reported it, and not judged."""
        return self.profile is Profile.PAPER_2018


class VerdictFile(Frozen):
    """``verdict.json``: one verdict a link, profile and boundary of each group of campaigns."""

    schema_version: int = VERDICT_VERSION
    verdicts: tuple[Verdict, ...]


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Adjusted p values, in the order given (Holm 1979)."""
    adjusted = [0.0] * len(p_values)
    running = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        running = max(running, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = running
    return tuple(adjusted)


def decide(*, differ: bool, inside: bool, beyond: bool) -> Word:
    """The table of this module's docstring."""
    if inside:
        return Word.INSIDE if differ else Word.EQUIVALENT
    return Word.RELEVANT if differ and beyond else Word.UNDECIDED


CLAIM_DIFFERENT = "the slopes differ"
CLAIM_EQUIVALENT = "the slope difference is inside both margins"
CLAIM_CPU = "the CPU seconds per MB differ"


def confirm(difference: Result, margins: Margins, cpu_ratio: Result) -> tuple[Confirmatory, ...]:
    """The confirmatory tests that the data allow, with Holm's adjustment."""
    tests: list[tuple[str, float]] = []
    if isinstance(difference, Estimate):
        tests.append((CLAIM_DIFFERENT, difference.p))
    if isinstance(margins.ms, Equivalence) and isinstance(margins.percent, Equivalence):
        tests.append((CLAIM_EQUIVALENT, max(margins.ms.p, margins.percent.p)))
    if isinstance(cpu_ratio, Estimate):
        tests.append((CLAIM_CPU, cpu_ratio.p))
    adjusted = holm([p for _, p in tests])
    return tuple(Confirmatory(claim=claim, p=p, p_holm=q) for (claim, p), q in zip(tests, adjusted, strict=True))


def word(tests: Sequence[Confirmatory], margins: Margins, alpha: float) -> Word:
    """The verdict of a design with enough power."""
    holds = {test.claim: test.p_holm < alpha for test in tests}
    both = (margins.ms, margins.percent)
    return decide(
        differ=holds.get(CLAIM_DIFFERENT, False),
        inside=holds.get(CLAIM_EQUIVALENT, False),
        beyond=any(isinstance(margin, Equivalence) and margin.p_beyond < alpha for margin in both),
    )
