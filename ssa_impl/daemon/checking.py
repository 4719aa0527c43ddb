"""What is wrong with a policy beyond its files' text: what a start or a reload would refuse, as far as can be seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from ..errors import SsaError
from ..hardening import process
from ..hardening.kernel import CannotHarden
from ..keys.reading import ForbiddenKey, UnusableKey, read_identity
from ..policy.contexts import context_for, forget_contexts
from ..policy.key_log import try_log
from ..policy.model import NamedKey, Request
from ..policy.policy import Policy
from ..policy.resolve import resolve


@dataclass
class Findings:
    """What an administrator is told, one sentence each."""

    complaints: list[str] = field(default_factory=list)
    """why a reload would refuse the policy"""
    unchecked: list[str] = field(default_factory=list)
    """what this user, or a process that is no daemon, cannot see, and why"""


def check(policy: Policy) -> list[str]:
    """Return what is wrong with a policy that only making its contexts tells, one sentence for each profile."""
    forget_contexts()  # the files behind them may have changed, too
    complaints = []
    for profile in policy.profiles.values():
        try:
            context_for(resolve(profile, Request(hostname="policy.invalid")))
        except SsaError as error:
            complaints.append(f"profile {profile.name}: {error.text}")
    return complaints


def examine(policy: Policy) -> Findings:
    """Try, without a daemon and without making a file, whatever a reload tries."""
    findings = Findings(check(_without_key_logs(policy)))
    try:
        process.check(require_landlock=policy.daemon.require_landlock)
    except CannotHarden as why:
        findings.complaints.append(str(why))
    _try_keys(policy.keys, findings)
    for path in policy.key_log_paths:
        try:
            findings.unchecked += filter(None, [try_log(path)])
        except SsaError as error:
            findings.complaints.append(error.text)
    return findings


def _without_key_logs(policy: Policy) -> Policy:
    """They are tried otherwise: making a context makes the file, and whoever checks is not always the daemon's user."""
    return replace(policy, profiles={name: replace(one, key_log="") for name, one in policy.profiles.items()})


def _try_keys(keys: Mapping[str, NamedKey], findings: Findings) -> None:
    for key in keys.values():
        try:
            read_identity(key)
        except ForbiddenKey as why:
            findings.unchecked.append(str(why))
        except UnusableKey as why:
            findings.complaints.append(str(why))
