"""Campaigns that may end before their last block, by the width of their intervals.  Pure.

A plan's rule (:class:`harness.records.Stopping`) lets the harness look between blocks: :func:`half_widths` is all
that it learns.  Whether the slopes differ, and which way, is not among it, so that a campaign cannot be run until it
says what somebody would like.  For normal block slopes mean and spread are independent, and where the interval lies
has no part in when it is narrow enough; but among all widths those that happen to be small end a campaign, so its
interval is a little short.  ``analysis.selfcheck`` counts by how much.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from pydantic import Field

from analysis import models
from analysis.estimates import Frozen, Missing, or_missing
from analysis.frames import Scenario, places
from analysis.load import Campaign
from analysis.pooling import scenario
from harness.records import HalfWidth, Look, Stopping


class Stopped(Frozen):
    """How far a campaign with a rule went, and why no further."""

    campaign: str
    rule: Stopping
    blocks: int = Field(description="begun, all of them complete in a campaign that has ended")
    most_blocks: int
    early: bool = Field(description="a look ended it")
    looks: tuple[Look, ...]


def stopped(campaigns: Sequence[Campaign]) -> tuple[Stopped, ...]:
    """One for each campaign that has a rule."""
    return tuple(
        Stopped(
            campaign=campaign.manifest.campaign,
            rule=rule,
            blocks=int(campaign.trials["block"].nunique()),
            most_blocks=campaign.manifest.blocks,
            early=any(look.stop for look in campaign.looks),
            looks=campaign.looks,
        )
        for campaign in campaigns
        if (rule := campaign.manifest.stopping) is not None
    )


def half_widths(campaign: Campaign, blocks: int) -> tuple[HalfWidth, ...]:
    """Of the primary interval after the first ``blocks`` blocks, one for each place; ms per process."""
    so_far = replace(campaign, trials=campaign.trials[campaign.trials["block"] < blocks].reset_index(drop=True))
    return tuple(_half_width(scenario([so_far], place)) for place in places(campaign.manifest))


def _half_width(here: Scenario) -> HalfWidth:
    fit = or_missing("primary fit", models.fit_clustered, here.rows)
    ms, reason = None, ""
    if isinstance(fit, Missing):
        reason = fit.reason
    else:
        difference = models.summarise(fit, here.rows, here.manifest.judgement.alpha).difference
        ms = (difference.ci_high - difference.ci_low) / 2
    return HalfWidth(link=here.link, profile=here.profile, boundary=here.boundary, ms=ms, reason=reason)


def looks_again(campaign: Campaign) -> Iterator[Look]:
    """The looks that the rule asks for, computed from the trials; when they were taken is as recorded."""
    rule, begun = campaign.manifest.stopping, int(campaign.trials["block"].nunique())
    if rule is None:
        return
    recorded = {look.blocks: look for look in campaign.looks}
    for blocks in rule.looks(campaign.manifest.blocks):
        if blocks > begun or (blocks == begun and blocks not in recorded):
            return
        found = half_widths(campaign, blocks)
        stop = rule.is_reached(one.ms for one in found)
        yield Look(
            blocks=blocks,
            trials=int((campaign.trials["block"] < blocks).sum()),
            looked_at=recorded[blocks].looked_at if blocks in recorded else "",
            took_ns=recorded[blocks].took_ns if blocks in recorded else 0,
            half_widths=found,
            stop=stop,
        )
        if stop:
            return
