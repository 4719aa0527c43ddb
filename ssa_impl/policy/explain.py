"""Which profile applies to an application and why, and where each of its values stands.  Pure."""

from __future__ import annotations

from dataclasses import dataclass

from . import schema
from .model import Origin, Profile
from .policy import Application, Policy, Rule

BUILT_IN = "built in"


@dataclass(frozen=True)
class Explained:
    """One key of a profile, as TOML has its value, and where it stands ("built in" where no file sets it)."""

    key: str
    value: object
    origin: str

    @property
    def text(self) -> str:
        """The value as a policy file would have it."""
        return schema.toml(self.value)


@dataclass(frozen=True)
class Considered:
    """A rule that was tried, and which of its conditions did not hold ("" for the one that decided)."""

    rule: Rule
    mismatch: str


@dataclass(frozen=True)
class Explanation:
    """What applies to one application."""

    profile: Profile
    considered: tuple[Considered, ...]
    """rules in the order in which they were tried, up to the one that decided"""
    why: str
    """one sentence"""
    values: tuple[Explained, ...]


def explain(policy: Policy, application: Application) -> Explanation:
    """Say which profile applies to an application, and why."""
    considered: list[Considered] = []
    for rule in policy.rules:
        considered.append(Considered(rule, rule.mismatch(application)))
        if not considered[-1].mismatch:
            break
    profile = policy.profile_for(application)
    return Explanation(profile, tuple(considered), _why(policy, application, profile), values(profile))


def values(profile: Profile) -> tuple[Explained, ...]:
    """Return every key of a profile with its value in force and its origin."""
    made = [Explained(key, value, _origin(profile, key)) for key, value in schema.shown(profile).items()]
    if profile.validation is not None:
        necessary, voting = ([choice.name for choice in part] for part in
                             (profile.validation.necessary, profile.validation.voting))  # fmt: skip
        origin = _origin(profile, "validation")
        made.append(Explained("validation.necessary", necessary, origin))
        made.append(Explained("validation.voting", voting, origin))
    return tuple(made)


def _origin(profile: Profile, key: str) -> str:
    origin: Origin | None = profile.origins.get(key)
    return BUILT_IN if origin is None else str(origin)


def _why(policy: Policy, application: Application, profile: Profile) -> str:
    rule = policy.rule_for(application)
    if rule is not None:
        return f"the rule at {rule.origin} is the first of {len(policy.rules)} that applies: {conditions(rule)}"
    if not policy.rules:
        return f"the policy has no rules, so the profile {profile.name} is everybody's"
    return f"none of {len(policy.rules)} rules applies, so it is the profile {profile.name}"


def conditions(rule: Rule) -> str:
    """Return what a rule asks for, in words."""
    asked = {
        "executable": " or ".join(rule.executables),
        "user": "" if rule.uid is None else str(rule.uid),
        "group": "" if rule.gid is None else str(rule.gid),
        "unit": rule.unit,
        "cgroup": rule.cgroup,
    }
    return ", ".join(f"{name} {value}" for name, value in asked.items() if value)
