"""What differs between two campaigns: first what makes them incomparable, then all the rest.  Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import Field

from analysis.estimates import Frozen
from analysis.load import Campaign

DECISIVE = ("profile", "link", "server", "stacks", "size_bytes", "inject_ms_per_process")
"""Fields of the manifest without which two campaigns do not ask the same question."""

DECISIVE_LINK = ("rate_mbit_s", "congestion_control", "mtu_bytes")
"""What a link of one kind was set to; see ``link`` in ``environment.json``."""

FLEETING = frozenset(
    {
        "environment.machine.load_average",
        "environment.link.namespaces",
        "environment.link.rtt_idle_us",
        "environment.server.port",
        "environment.server.executable",
        "plan.seed",
    }
)
"""Another one in every campaign; what was measured while it ran, and no part of what was set."""

SKIPPED = ("environment.fingerprint", "environment.schema_version", "environment.warnings")
"""Said elsewhere in the same file."""

NOTHING = "(not there)"


class Difference(Frozen):
    """One thing that the campaigns do not have in common."""

    what: str = Field(description="plan.blocks, environment.machine.kernel.release, ...")
    a: str
    b: str


def decisive(a: Campaign, b: Campaign) -> list[Difference]:
    """Why the campaigns do not ask the same question; empty when they do."""
    found = [
        Difference(what=name, a=_text(ours), b=_text(theirs))
        for name in DECISIVE
        if (ours := getattr(a.manifest, name)) != (theirs := getattr(b.manifest, name))
    ]
    if not set(a.manifest.boundaries) & set(b.manifest.boundaries):
        found.append(Difference(what="boundaries", a=_text(a.manifest.boundaries), b=_text(b.manifest.boundaries)))
    if a.manifest.link == b.manifest.link:
        for name in DECISIVE_LINK:
            ours, theirs = a.environment.link.get(name), b.environment.link.get(name)
            if ours != theirs:
                found.append(Difference(what=f"the link's {name}", a=_text(ours), b=_text(theirs)))
    return found


def differences(a: Campaign, b: Campaign) -> tuple[Difference, ...]:
    """Plan, machine, kernel, versions: everything that is recorded and differs, in the order of the files."""
    ours, theirs = dict(_facts(a)), dict(_facts(b))
    names = list(ours) + [name for name in theirs if name not in ours]
    return tuple(
        Difference(what=name, a=ours.get(name, NOTHING), b=theirs.get(name, NOTHING))
        for name in names
        if ours.get(name, NOTHING) != theirs.get(name, NOTHING)
    )


def _facts(campaign: Campaign) -> Iterator[tuple[str, str]]:
    content = {"plan": campaign.plan, "environment": campaign.environment.model_dump(mode="json")}
    for name, value in _leaves(content, ""):
        if name not in FLEETING and not name.startswith(SKIPPED):
            yield name, value


def _leaves(value: Any, path: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path, _text(value)


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        shown = [_text(item) for item in value]
        return ", ".join(shown) if len(shown) <= 12 else f"{shown[0]}, {shown[1]} ... {shown[-1]} ({len(shown)})"
    return "none" if value is None else str(value)
