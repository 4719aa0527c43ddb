"""What makes results worth less, said before the campaign begins: a closed list, each with what to do about
it.

A check looks at an environment (see ``environment``) and finds one sentence, or nothing.  It never refuses:
the experiment runs, and the report repeats what was found.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

FEW_CORES = 4
LOW_NOFILE = 4096  # 100 clients and their daemon, with room
LOW_NPROC = 1024
OTHER_LOAD_PER_CORE = 0.3

_HARMLESS = {"SSL_CERT_DIR", "SSL_CERT_FILE"}  # where a trust store is, which distributions set; recorded only

Environment = dict[str, Any]


@dataclass(frozen=True)
class Check:
    """One line of the table."""

    code: str
    find: Callable[[Environment], str | None]
    advice: str


def find_warnings(environment: Environment) -> list[dict[str, str]]:
    """All that apply, in the order of the table: ``[{"code": ..., "text": ..., "advice": ...}]``."""
    found = ((check, check.find(environment)) for check in CHECKS)
    return [{"code": check.code, "text": text, "advice": check.advice} for check, text in found if text is not None]


def _governor(environment: Environment) -> str | None:
    slow = [name for name in environment["machine"]["cpu"]["governors"] if name != "performance"]
    return f"The CPU frequency governor is {', '.join(slow)}: the clock follows the load." if slow else None


def _boost(environment: Environment) -> str | None:
    return "The CPU may raise its clock as heat allows." if environment["machine"]["cpu"]["boost"] else None


def _load(environment: Environment) -> str | None:
    load, cores = environment["machine"]["load_average"][0], environment["machine"]["cpu"]["usable"]
    if load <= OTHER_LOAD_PER_CORE * cores:
        return None
    return f"Other programs were running: the load was {load:.2f} on {cores} cores when the campaign began."


def _cores(environment: Environment) -> str | None:
    cores = environment["machine"]["cpu"]["usable"]
    if cores >= FEW_CORES:
        return None
    return f"Only {cores} cores: clients, daemon and server take turns on them, as they would not on several machines."


def _virtual(environment: Environment) -> str | None:
    machine = environment["machine"]
    kind = machine["virtualisation"]
    if kind in {None, "none"} and not machine["cpu"]["hypervisor"]:
        return None
    name = "" if kind in {None, "none"} else f" ({kind})"
    return f"This is a virtual machine or container{name}: its neighbours take time that is not seen here."


def _nofile(environment: Environment) -> str | None:
    soft = environment["machine"]["limits"]["nofile"]["soft"]
    return f"A process may open only {soft} files." if soft is not None and soft < LOW_NOFILE else None


def _nproc(environment: Environment) -> str | None:
    soft = environment["machine"]["limits"]["nproc"]["soft"]
    return f"The user may have only {soft} processes." if soft is not None and soft < LOW_NPROC else None


def _dirty(environment: Environment) -> str | None:
    git = environment["versions"]["git"]
    if git["dirty"]:
        return f"The source differs from revision {git['revision'][:12]}: nobody else can check it out."
    return None


def _revision(environment: Environment) -> str | None:
    why_not = environment["versions"]["git"].get("why_not")  # older campaigns have none
    return f"The revision of the source is not known: {why_not}." if why_not else None


def _variables(environment: Environment) -> str | None:
    names = sorted(set(environment["machine"]["environment"]) - _HARMLESS)
    return f"The environment sets {', '.join(names)}, which may change what is measured." if names else None


def _fell_back(environment: Environment) -> str | None:
    link = environment["link"]
    return f"The link is {link['kind']}, not lan. {link['why']}" if link["fell_back"] else None


def _not_pinned(environment: Environment) -> str | None:
    link = environment["link"]
    if link["congestion_control_pinned"]:
        return None
    return f"TCP's congestion control is what the host has ({link['congestion_control']['client']}), not pinned."


CHECKS = (
    Check("governor", _governor, "Choose the governor performance, e.g. `cpupower frequency-set -g performance`."),
    Check("boost", _boost, "Switch it off in the firmware, or write 0 to cpufreq/boost (1 to intel_pstate/no_turbo)."),
    Check("other-load", _load, "Stop other programs and begin again; blocks keep drift out of the result, not noise."),
    Check("few-cores", _cores, "Read CPU seconds per MB beside the elapsed time, or use a larger machine."),
    Check("virtual-machine", _virtual, "Repeat on hardware of your own before relying on small differences."),
    Check("low-nofile", _nofile, f"Raise the limit: `ulimit -n {LOW_NOFILE}`."),
    Check("low-nproc", _nproc, f"Raise the limit: `ulimit -u {LOW_NPROC}`."),
    Check("dirty-tree", _dirty, "Commit first for results that you will show to others."),
    Check(
        "unknown-revision",
        _revision,
        "Let git answer (`git config --global --add safe.directory DIR`); the source's SHA-256 is recorded.",
    ),
    Check("environment-variables", _variables, "Unset them unless you mean them; they are recorded."),
    Check("link-fell-back", _fell_back, "Do what it says, or ask for `--link loopback` if you mean that."),
    Check(
        "congestion-control", _not_pinned, "Run as root, where links of our own pin it; on a real network record it."
    ),
)
"""Every warning there is.  The codes are part of environment.json's format."""
