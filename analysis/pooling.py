"""Which campaigns share one fit, and which are judged apart.  Pure.

Links, profiles and boundaries are never mixed in a fit, whether they come from one campaign or from several.
Campaigns at one place are pooled when everything else agrees that a fit takes for granted: stacks, server,
size, read size, judgement, injected delay, and the machine's fingerprint.  Otherwise each is judged on its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from analysis.errors import DataError
from analysis.frames import Fate, Place, Scenario, at_place, derive, paired, places
from analysis.load import Campaign

DECISIVE = ("size_bytes", "server", "stacks", "boundaries", "judgement", "inject_ms_per_process")


def scenario(campaigns: Sequence[Campaign], place: Place | None = None) -> Scenario:
    """Pool campaigns into one fit at ``place`` (None: the first of the first campaign).

    Raises:
        DataError: they differ in something that makes pooling unsound.
    """
    first = campaigns[0]
    for other in campaigns[1:]:
        if why := unlike(first, other):
            raise DataError(f"{_both(first, other)} cannot share one fit: {why}")
    at = place or places(first.manifest)[0]
    derived = [
        derive(at_place(campaign.trials, campaign.manifest, at), campaign.manifest, k, at.boundary)
        for k, campaign in enumerate(campaigns)
    ]
    trials = pd.concat(derived, ignore_index=True)
    used = trials[trials["fate"] == str(Fate.USED)]
    rows = used.sort_values(["campaign_index", "sequence"], ignore_index=True)
    return Scenario(tuple(campaigns), trials, rows, paired(rows), at)


def unlike(first: Campaign, other: Campaign) -> str:
    """Why two campaigns cannot share one fit, as half a sentence; empty when they can."""
    for name in DECISIVE:
        mine, theirs = getattr(first.manifest, name), getattr(other.manifest, name)
        if mine != theirs:
            return f"{name} differs: {_text(mine)} and {_text(theirs)}"
    mine, theirs = (campaign.plan.get("read_size_bytes") for campaign in (first, other))
    if mine != theirs:
        return f"read_size_bytes differs: {mine} and {theirs}"
    ours, others = first.environment.fingerprint, other.environment.fingerprint
    for key in sorted(ours.keys() | others.keys()):
        if ours.get(key) != others.get(key):
            return f"{key} differs: {ours.get(key)!r} and {others.get(key)!r}"
    return ""


def _text(value: object) -> str:
    return ", ".join(str(one) for one in value) if isinstance(value, tuple) else str(value)


def _both(first: Campaign, other: Campaign) -> str:
    return f"{first.directory} and {other.directory}"


def scenarios(campaigns: Sequence[Campaign]) -> tuple[Scenario, ...]:
    """One scenario for each place and each group of campaigns that can share a fit, in the order given.

    Raises:
        DataError: a campaign is given twice.
    """
    seen: dict[str, Campaign] = {}
    for campaign in campaigns:
        twin = seen.setdefault(campaign.manifest.campaign, campaign)
        if twin is not campaign:
            raise DataError(f"{_both(twin, campaign)} are one campaign; give each only once")
    return tuple(scenario(group, place) for group in _groups(campaigns) for place in places(group[0].manifest))


def _groups(campaigns: Sequence[Campaign]) -> list[list[Campaign]]:
    groups: list[list[Campaign]] = []
    for campaign in campaigns:
        mine = next((group for group in groups if _share(group[0], campaign)), None)
        if mine is None:
            groups.append([campaign])
        else:
            mine.append(campaign)
    return groups


def _share(first: Campaign, other: Campaign) -> bool:
    return places(first.manifest) == places(other.manifest) and not unlike(first, other)


def apart(found: Sequence[Scenario]) -> Iterator[str]:
    """One sentence for each pair of neighbours at one place that were not pooled, with the reason."""
    by_place: dict[Place, Scenario] = {}
    for one in found:
        first = by_place.setdefault(one.place, one)
        if first is not one:
            ours, theirs = first.campaigns[0], one.campaigns[0]
            why = unlike(ours, theirs) or "they have other links, profiles or boundaries beside this one"
            yield f"{_both(ours, theirs)} are judged apart: {why}"
