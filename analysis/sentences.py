"""The result in words, the same in the terminal, the report and the notebooks.  Pure.

Here numbers are rounded for reading; ``verdict.json`` has them whole.
"""

from __future__ import annotations

from collections.abc import Sequence

from analysis.cpu import Cost
from analysis.equivalence import Equivalence
from analysis.estimates import Estimate, Missing
from analysis.models import SlopeFit
from analysis.stopping import Stopped
from analysis.verdict import Verdict, Word
from harness.records import Profile

MEANING = {
    Word.EQUIVALENT: "no difference was found, and one as large as a margin is ruled out",
    Word.RELEVANT: "there is a difference, and it lies wholly beyond a margin",
    Word.INSIDE: "there is a difference, and it is smaller than both margins",
    Word.UNDECIDED: "the data rule out neither 'no difference' nor 'beyond a margin'",
}
DESIGN_2018 = "its clock holds one stack's handshake and not the other's, and its order is fixed"
OPEN_RELEVANCE = "there is a difference, but its interval reaches across a margin, so its relevance is open"


def significant(value: float, digits: int) -> str:
    """With so many significant digits, zeros at the end included: 6.00, 0.0196, 170."""
    return f"{value:#.{digits}g}".removesuffix(".")


def signed(value: float, digits: int = 3) -> str:
    """The same with a sign: +0.0196."""
    return ("" if value < 0 else "+") + significant(value, digits)


def p_text(p: float) -> str:
    """As papers print it: p = 0.03, p < 0.0001."""
    return "p < 0.0001" if p < 0.0001 else f"p = {p:.2g}"


def ci(level: float) -> str:
    """95 % CI: what stands above a column of intervals, or before one."""
    return f"{100 * level:.3g} % CI"


def interval(low: float, high: float, level: float) -> str:
    """95 % CI -0.055 to +0.094."""
    return f"{ci(level)} {signed(low)} to {signed(high)}"


def headline(verdict: Verdict) -> str:
    """The slope difference in ms per process, and in percent."""
    name = f"{verdict.other} minus {verdict.baseline}"
    if isinstance(verdict.slopes, Missing):
        return f"{name}: not enough data: {verdict.slopes.reason}"
    ms, percent = verdict.slopes.difference, verdict.difference_percent
    text = f"{name}: {signed(ms.value)} ms per process ({interval(ms.ci_low, ms.ci_high, ms.level)}, {p_text(ms.p)})"
    if isinstance(percent, Missing):
        return f"{text}; in percent: {percent.reason}"
    range_ = interval(percent.ci_low, percent.ci_high, percent.level)
    return f"{text}, that is {signed(percent.value)} % of {verdict.baseline}'s slope ({range_})"


def slopes(verdict: Verdict) -> str:
    """Both slopes, and the level of the noise."""
    fit = verdict.slopes
    if not isinstance(fit, SlopeFit):
        return ""
    baseline, other = (significant(slope.value, 4) for slope in (fit.baseline_slope, fit.other_slope))
    return (
        f"Slopes: {verdict.baseline} {baseline}, {verdict.other} {other} ms per process; residuals "
        f"{significant(fit.residual_sd_ms, 3)} ms a trial; {fit.pairs} pairs, {fit.levels} levels, {fit.blocks} blocks"
    )


def cpu(verdict: Verdict) -> str:
    """CPU seconds per megabyte of both stacks and their ratio."""
    costs = "; ".join(_cost(cost) for cost in (verdict.cpu.baseline, verdict.cpu.other))
    ratio = verdict.cpu.ratio
    if isinstance(ratio, Missing):
        return f"CPU per MB: {costs}; ratio: not enough data: {ratio.reason}"
    value, low, high = (significant(number, 4) for number in (ratio.value, ratio.ci_low, ratio.ci_high))
    text = f"ratio {value} ({ci(ratio.level)} {low} to {high}, {p_text(ratio.p)})"
    return f"CPU per MB: {costs}; {text}"


def boundaries(verdict: Verdict) -> str:
    """The SSA at one boundary beside the other; empty when the campaign knows one only."""
    found = verdict.boundaries
    if found is None:
        return ""
    name = f"SSA {found.boundary} minus SSA {found.beside}"
    if isinstance(found.slope, Missing):
        text = f"{name}: not enough data: {found.slope.reason}"
    else:
        ms = found.slope
        span = interval(ms.ci_low, ms.ci_high, ms.level)
        text = (
            f"{name}: {signed(ms.value)} ms per process ({span}, {p_text(ms.p)}), each against the baseline beside it"
        )
    if isinstance(found.cpu, Missing):
        return f"{text}; CPU per MB, ratio: not enough data: {found.cpu.reason}"
    ratio, low, high = (significant(number, 4) for number in (found.cpu.value, found.cpu.ci_low, found.cpu.ci_high))
    return f"{text}; CPU per MB, ratio {ratio} ({ci(found.cpu.level)} {low} to {high}, {p_text(found.cpu.p)})"


def _cost(cost: Cost) -> str:
    if isinstance(cost.stack, Estimate):
        return f"{cost.arm} {significant(cost.stack.value, 3)} s"
    parts = [part for part in (cost.clients, cost.daemon, cost.boundary) if part is not None]
    return f"{cost.arm} {significant(sum(parts), 3)} s" if parts else f"{cost.arm} not measured"


def judgement(verdict: Verdict) -> str:
    """The verdict, or why there is none."""
    if verdict.is_2018:
        return _as_in_2018(verdict)
    if verdict.has_floor:
        return "No verdict: plain HTTP does no TLS, so it is the floor below the other, and no claim is tested"
    if verdict.design.underpowered:
        return f"Underpowered, so there is no verdict: {'; '.join(verdict.design.reasons)}"
    if verdict.is_aa:
        return _aa(verdict)
    if verdict.injected_ms_per_process:
        return f"No verdict: the plan put {_injected(verdict)}, so the difference is not the stacks' own"
    assert verdict.word is not None
    return f"Verdict: {verdict.word} ({meaning(verdict)})"


def _as_in_2018(verdict: Verdict) -> str:
    """What the paper's own model makes of the paper's own design, and why it is no verdict."""
    fit = verdict.paper_model
    if isinstance(fit, Missing):
        told = f"nothing, not enough data: {fit.reason}"
    else:
        found = "a significant difference" if fit.p < verdict.judgement.alpha else "no significant difference"
        span = interval(fit.ci_low, fit.ci_high, fit.level)
        told = f"{found}, {signed(fit.value)} ms per process ({span}, {p_text(fit.p)})"
    return f"As the 2018 design would have reported: {told}; {DESIGN_2018}, so there is no verdict"


def word(verdict: Verdict) -> str:
    """The verdict in one word or two: equivalent, ..., underpowered, passed, failed, none."""
    if verdict.is_2018:
        return "none"
    if verdict.design.underpowered:
        return "underpowered"
    if verdict.is_aa:
        return "passed" if verdict.aa_passed else "failed"
    return str(verdict.word or "none")


def brief(verdict: Verdict, among: Sequence[Verdict] = ()) -> str:
    """The result in half a line; ``among`` others of one campaign it says which it is."""
    places = {name: str(getattr(verdict, name)) for name in ("link", "profile", "boundary")}
    which = [
        text for name, text in places.items() if len({str(getattr(other, name)) for other in (*among, verdict)}) > 1
    ]
    return f"{' '.join([*which, verdict.other])}: {brief_slope(verdict)}, {brief_cpu(verdict)}, {word(verdict)}"


def brief_slope(verdict: Verdict) -> str:
    """-0.623 (-0.738 to -0.507) ms per process."""
    known = not isinstance(verdict.slopes, Missing)
    return f"{slope_cell(verdict)} ms per process" if known else "slope not known"


def slope_cell(verdict: Verdict) -> str:
    """The same where the column's head has the unit."""
    if isinstance(verdict.slopes, Missing):
        return "not enough data"
    ms = verdict.slopes.difference
    return f"{signed(ms.value)} ({signed(ms.ci_low)} to {signed(ms.ci_high)})"


def brief_cpu(verdict: Verdict) -> str:
    """CPU × 1.315 (1.304 to 1.327)."""
    known = not isinstance(verdict.cpu.ratio, Missing)
    return f"CPU × {cpu_cell(verdict)}" if known else "CPU not known"


def cpu_cell(verdict: Verdict) -> str:
    """The same where the column's head says what it is."""
    ratio = verdict.cpu.ratio
    if isinstance(ratio, Missing):
        return "not enough data"
    value, low, high = (significant(number, 4) for number in (ratio.value, ratio.ci_low, ratio.ci_high))
    return f"{value} ({low} to {high})"


def place(verdict: Verdict) -> str:
    """Where it was measured: the link, and the profile when it is not the sound one."""
    return str(verdict.link) if verdict.profile is Profile.SOUND else f"{verdict.link}, profile {verdict.profile}"


def _injected(verdict: Verdict) -> str:
    return f"{signed(verdict.injected_ms_per_process)} ms per process into the second arm"


def _aa(verdict: Verdict) -> str:
    if verdict.injected_ms_per_process:
        if verdict.aa_passed:
            return f"Injected delay: passed: the plan put {_injected(verdict)}, and the interval contains it"
        return (
            f"Injected delay: failed: the plan put {_injected(verdict)}, and the interval does not contain it; "
            "do not trust this machine"
        )
    if verdict.aa_passed:
        return "A/A: passed: both arms are the same stack, and no difference was found"
    return "A/A: failed: both arms are the same stack, and yet a difference was found; do not trust this machine"


def meaning(verdict: Verdict) -> str:
    """What the word says here."""
    assert verdict.word is not None
    if verdict.word is Word.UNDECIDED and any(
        test.claim == "the slopes differ" and test.p_holm < verdict.judgement.alpha for test in verdict.confirmatory
    ):
        return OPEN_RELEVANCE
    return MEANING[verdict.word]


def margins(verdict: Verdict) -> str:
    """Against what 'equivalent' is measured."""
    texts = [
        f"{margin.margin:g} {margin.unit}" if isinstance(margin, Equivalence) else f"none: {margin.reason}"
        for margin in (verdict.equivalence.ms, verdict.equivalence.percent)
    ]
    return " and ".join(texts)


def counts(verdict: Verdict) -> str:
    """How many trials there are and what became of them."""
    rest = {fate: count for fate, count in verdict.counts.by_fate.items() if fate != "used"}
    text = f"Trials: {verdict.counts.trials} recorded, {verdict.counts.used} used"
    return text + "".join(f"; {count} {fate}" for fate, count in rest.items())


def disagreements(verdict: Verdict) -> tuple[str, ...]:
    """Checks that do not agree with the primary fit."""
    return () if isinstance(verdict.checks, Missing) else verdict.checks.disagreements


def stopping(found: Sequence[Stopped]) -> tuple[str, ...]:
    """How far each campaign with a rule went, and by which rule; none for campaigns without."""
    return tuple(_stopping(one) for one in found)


def _stopping(one: Stopped) -> str:
    rule, looks = one.rule, len(one.looks)
    wanted = f"every interval at most ± {rule.half_width_ms:g} ms per process"
    asked = f"asked after {rule.min_blocks} blocks and then every {rule.look_every}"
    if one.early:
        how = f"Ended by its plan's rule after {one.blocks} of at most {one.most_blocks} blocks"
    elif one.blocks < one.most_blocks:
        how = f"Not ended yet, after {one.blocks} of at most {one.most_blocks} blocks"
    else:
        how = f"Went through all of at most {one.most_blocks} blocks; its plan's rule did not end it"
    count = "one look" if looks == 1 else f"{looks} looks"
    return f"{one.campaign}: {how}: {wanted}, {asked} ({count})"
