"""What differs between two campaigns: first what makes them incomparable, then all the rest.  Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import Field

from analysis.estimates import Frozen
from analysis.load import Campaign
from harness.records import Manifest

DECISIVE = ("server", "stacks", "size_bytes", "inject_ms_per_process")
"""Fields of the manifest without which two campaigns do not ask the same question."""

DECISIVE_LINK = ("rate_mbit_s", "rtt_ms", "emulator", "congestion_control", "mtu_bytes")
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
    return [*_nothing_in_common(a.manifest, b.manifest), *found, *_unlike_links(a, b)]


def _nothing_in_common(a: Manifest, b: Manifest) -> Iterator[Difference]:
    """Links, profiles and boundaries that one campaign has more are left aside; but some must be in both."""
    if not set(a.parts) & set(b.parts):
        for k, name in enumerate(("link", "profile")):
            ours, theirs = (tuple(dict.fromkeys(part[k] for part in manifest.parts)) for manifest in (a, b))
            if ours != theirs:
                yield Difference(what=name, a=_text(ours), b=_text(theirs))
    if not set(a.boundaries) & set(b.boundaries):
        yield Difference(what="boundaries", a=_text(a.boundaries), b=_text(b.boundaries))


def _unlike_links(a: Campaign, b: Campaign) -> Iterator[Difference]:
    links = [dict.fromkeys(link for link, _ in side.manifest.parts) for side in (a, b)]
    for link in links[0]:
        if link in links[1]:
            for name in DECISIVE_LINK:
                ours, theirs = (_set_to(side.environment.of_link(link), name) for side in (a, b))
                if ours != theirs:
                    which = "the link's" if len(links[0]) == len(links[1]) == 1 else f"the {link} link's"
                    yield Difference(what=f"{which} {name}", a=_text(ours), b=_text(theirs))


def _set_to(link: Mapping[str, Any], name: str) -> Any:
    """An emulator by its name; that of campaigns older than the name is tun."""
    found = link.get(name)
    return found.get("name", "tun") if name == "emulator" and isinstance(found, Mapping) else found


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
        if not is_fleeting(name) and not name.startswith(SKIPPED):
            yield name, value


def is_fleeting(name: str) -> bool:
    """Of each of several links too."""
    whole, _, rest = name.removeprefix("environment.links.").partition(".")
    return (f"environment.link.{rest}" if name.startswith("environment.links.") and whole else name) in FLEETING


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
