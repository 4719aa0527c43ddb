"""Which build of OpenSSL did the TLS of each arm, and what to say when they are two.  Pure.

pyOpenSSL and the daemon share one build.  The clients of C and the proxies have the system's, so a comparison with
them is one of builds too.
"""

from __future__ import annotations

from typing import Any

from analysis.load import Campaign, Environment
from harness.records import Stack


def mismatch(campaign: Campaign, arms: tuple[str, str]) -> str:
    """One sentence (without full stop) when the arms had different builds; empty when not, or when one is unknown."""
    builds = [build(campaign.environment, stack) for stack in campaign.manifest.stacks]
    if None in builds or builds[0] == builds[1]:
        return ""
    told = ", ".join(f"{arm} with {_number(str(found))}" for arm, found in zip(arms, builds, strict=True))
    return f"Different builds of OpenSSL: {told}; the comparison is of them too"


def _number(build: str) -> str:
    """4.0.3 of ``OpenSSL 4.0.3 29 Sep 2026``."""
    words = build.split()
    return words[1] if len(words) > 1 else build


def build(environment: Environment, stack: Stack) -> str | None:
    """What ``environment.json`` says of the OpenSSL of a stack; None for plain HTTP, and in files that do not say."""
    everything: dict[str, Any] = environment.model_extra or {}
    if stack.is_ssa:
        found = everything.get("daemon")
    elif stack.is_proxy:
        found = (everything.get("proxies") or {}).get(stack.value)
    else:
        found = (everything.get("clients") or {}).get(stack.value)
    return (found or {}).get("openssl")
