"""The plan: everything that a campaign is told, in one TOML file, fixed before the first trial.

A plan is read, overridden (``--set key=value``) and checked as a whole: all complaints come together, each
with the file, the field, what is wrong and what to do.  ``Plan`` is frozen; its hash (SHA-256 of the
canonical JSON) is what ``resume`` compares. Presets are TOML files in this package; a field that a file does
not mention has the default written here.
"""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator

from harness.complaints import explain
from harness.errors import UsageError
from harness.files import read_small
from harness.links import LinkUsageError, serving
from harness.links.remote import target_of
from harness.records import Boundary, Judgement, Profile, Stack, Stopping, Told
from harness.routes import Route, routes

PRESETS = ("smoke", "standard", "paper", "aa", "inject")
MAX_PROCESSES = 1000
MAX_BLOCKS = 10_000
PUBLISHED_READ_BYTES = 1024
YOUNGER_FIELDS = (
    "inject_ms_per_process",
    "rate_mbit_s",
    "rtt_ms",
    "emulator",
    "links",
    "profiles",
    "ssh",
    "remote_port",
    "stopping",
)
"""Fields younger than campaigns on record: at their default they are no part of the hash, which so stays."""


class Plan(Told):
    """One campaign's factors, sizes and rules."""

    preset: str = Field("custom", pattern=r"^[a-z0-9][a-z0-9-]*$", description="the plan's name")
    levels: tuple[int, ...] = Field(min_length=1, description="values of n: a list, or {from = 1, to = 100, step = 1}")
    blocks: int = Field(ge=1, le=MAX_BLOCKS, description="complete randomised passes through all cells")
    stacks: tuple[Stack, Stack] = Field(
        (Stack.OPENSSL, Stack.SSA), description="baseline first; the same stack twice is an A/A plan"
    )
    profile: Profile = Field(Profile.SOUND, description="what the clock encloses")
    link: Literal["auto", "loopback", "lan", "wan", "remote"] = Field("auto", description="auto: lan where possible")
    links: tuple[Literal["loopback", "lan", "wan"], ...] = Field(
        (), description="several, instead of link: each block passes over each of them, one after the other"
    )
    profiles: tuple[Profile, ...] = Field((), description="several, instead of profile: likewise")
    rate_mbit_s: float = Field(1000.0, ge=1, le=30_000, description="lan and wan: in either direction")
    rtt_ms: float = Field(40.0, ge=1, le=2000, description="wan only: what is added to the round trip")
    emulator: Literal["auto", "netem", "tun"] = Field(
        "auto", description="wan only: what delays packets; auto: netem where the kernel has it, else tun"
    )
    server: Literal["auto", "granian", "nginx", "lighttpd", "apache", "caddy"] = Field(
        "auto", description="auto: granian, the embedded one; the others where they are installed"
    )
    boundary: Literal["auto", "seccomp", "preload", "both"] = Field(
        "auto", description="how the SSA's clients reach the daemon; auto: seccomp; both: a factor, one pair each"
    )
    key_type: Literal["ecdsa", "rsa"] = Field("ecdsa", description="of the server's certificate")
    size_bytes: int = Field(1_000_000, ge=1, le=1_000_000_000, description="of the file that is downloaded")
    read_size_bytes: int = Field(65_536, ge=1, le=16_777_216, description="most that one read asks for")
    workers: int = Field(0, ge=0, le=256, description="processes of the daemon and of the server; 0: one per core")
    seed: int = Field(1, ge=0, lt=2**63, description="of the order of trials")
    trial_timeout_s: float = Field(60.0, gt=0, le=3600, description="for each step of a trial")
    max_attempts: int = Field(3, ge=1, le=100, description="times that a pair is tried before it is given up")
    warm_up: int = Field(
        2,
        ge=0,
        le=100,
        description="trials of each stack before the first one, and after a party was replaced; never recorded",
    )
    inject_ms_per_process: float = Field(
        0.0,
        ge=0,
        le=1000,
        description="held back for each process of a trial: every client of the second arm begins n times this later",
    )
    judgement: Judgement = Field(
        default_factory=lambda: Judgement.model_validate({}), description="what the analysis obeys"
    )
    stopping: Stopping | None = Field(
        None, description="a table: end before the last block, when every interval is narrow enough; see below"
    )
    url: str | None = Field(None, description="remote only: https://host[:port]/file")
    ssh: str | None = Field(
        None,
        pattern=r"^[^\s-]\S*$",
        description="remote only, instead of url: [user@]host, where ssh puts our server for the campaign",
    )
    remote_port: int = Field(0, ge=0, le=65_535, description="ssh only: where the server there listens; 0: a free one")
    ca: str | None = Field(None, description="remote only: PEM file of the trusted authorities")

    @field_validator("levels", mode="before")
    @classmethod
    def _expand(cls, value: object) -> object:
        if not isinstance(value, Mapping):
            return value
        unknown = sorted(set(value) - {"from", "to", "step"})
        numbers = [
            number for number in (value.get("from"), value.get("to"), value.get("step", 1)) if type(number) is int
        ]
        if unknown or len(numbers) != 3:
            raise ValueError("a range is written {from = 1, to = 100, step = 1}, in whole numbers")
        first, last, step = numbers
        if step < 1 or last < first:
            raise ValueError("the range is empty: 'to' must be at least 'from' and 'step' at least 1")
        if last > MAX_PROCESSES:
            raise ValueError(f"no level may be above {MAX_PROCESSES}")
        return tuple(range(first, last + 1, step))

    @field_validator("levels")
    @classmethod
    def _ascending(cls, levels: tuple[int, ...]) -> tuple[int, ...]:
        if levels != tuple(sorted(set(levels))):
            raise ValueError("levels must ascend, each once")
        if levels[0] < 1 or levels[-1] > MAX_PROCESSES:
            raise ValueError(f"every level must be between 1 and {MAX_PROCESSES}")
        return levels

    @field_validator("links", "profiles")
    @classmethod
    def _each_once(cls, several: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(several)) != len(several):
            raise ValueError("each may be named once")
        return several

    @property
    def every_link(self) -> tuple[str, ...]:
        """The links as they were asked for, ``auto`` among them."""
        return self.links or (self.link,)

    @property
    def every_profile(self) -> tuple[Profile, ...]:
        """The profiles, each of which is run on each link."""
        return self.profiles or (self.profile,)

    def read_size(self, profile: Profile) -> int:
        """Most that one read asks for, bytes: the published harness's own in its profile."""
        return PUBLISHED_READ_BYTES if profile is Profile.PAPER_2018 else self.read_size_bytes

    @property
    def boundaries(self) -> tuple[Boundary, ...]:
        """The factor's levels: each n is one pair for each of them."""
        if self.boundary == "both":
            return tuple(Boundary)
        return (Boundary.PRELOAD if self.boundary == "preload" else Boundary.SECCOMP,)

    @property
    def routes(self) -> tuple[Route, ...]:
        """Every way to TLS that is needed, baseline first."""
        return routes(self.stacks, self.boundaries)

    def held_back_ns(self, arm: int, n: int) -> int:
        """How much later than the release the clients of a trial begin, by the injected delay."""
        return round(self.inject_ms_per_process * n * 1e6) if arm == 1 else 0

    @property
    def trials(self) -> int:
        """Trials when nothing fails, without warm-up; where a rule may stop it earlier, the most."""
        parts = len(self.every_link) * len(self.every_profile)
        return 2 * len(self.levels) * len(self.boundaries) * self.blocks * parts

    @property
    def sha256(self) -> str:
        """Hash of the canonical JSON: the same plan has the same hash, whatever file it came from."""
        fields = self.model_dump(mode="json")
        for name in YOUNGER_FIELDS:
            if getattr(self, name) == Plan.model_fields[name].default:
                del fields[name]
        text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def names() -> list[str]:
    """The plans of this package: the presets, and one for each claim."""
    found = resources.files("harness").joinpath("plans").iterdir()
    return sorted(path.name.removesuffix(".toml") for path in found if path.name.endswith(".toml"))


def load_preset(name: str, changes: Mapping[str, object] | None = None) -> Plan:
    """A plan of this package, with changes.  UsageError with every complaint."""
    if name not in names():
        raise UsageError(f"There is no preset {name!r}; there are {', '.join(names())}, or give a file with --plan.")
    text = resources.files("harness").joinpath("plans", f"{name}.toml").read_text(encoding="utf-8")
    return build(_parse(text, f"plan {name}"), changes or {}, f"plan {name}")


def load_file(path: Path, changes: Mapping[str, object] | None = None) -> Plan:
    """A plan from a TOML file, with changes.  UsageError with every complaint."""
    try:
        text = read_small(path).decode()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UsageError(f"Cannot read the plan {path}: {reason}.") from error
    return build(_parse(text, str(path)), changes or {}, str(path))


def build(fields: Mapping[str, object], changes: Mapping[str, object], source: str) -> Plan:
    """Check ``fields`` overridden by ``changes`` (dotted keys reach into tables); all complaints at once."""
    merged = json.loads(json.dumps(fields, default=str))
    merged.pop("claim", None)  # what a plan file is for: of the analysis, no part of what is run
    for key, value in changes.items():
        _override(merged, key.split("."), value)
    complaints = _cross_complaints(merged)
    try:
        plan = Plan.model_validate(merged)
    except ValidationError as error:
        complaints = [*explain(error, Plan), *complaints]
    if complaints:
        lines = "\n".join(f"  {complaint}" for complaint in complaints)
        count = "one error" if len(complaints) == 1 else f"{len(complaints)} errors"
        raise UsageError(f"The plan ({source}) has {count}; nothing was run:\n{lines}")
    return plan


def parse_changes(settings: Sequence[str]) -> dict[str, object]:
    """``key=value`` pairs; values are TOML, and what is not TOML is text."""
    changes: dict[str, object] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or not key.strip():
            raise UsageError(f"--set {setting!r} is not key=value; write for example --set blocks=4.")
        try:
            changes[key.strip()] = tomllib.loads(f"value = {value}")["value"]
        except (ValueError, RecursionError):  # not TOML, a number of 5000 digits, or nested too deep
            changes[key.strip()] = value.strip()
    return changes


def _parse(text: str, source: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # RecursionError: nested too deep to be read
        raise UsageError(f"The plan ({source}) is not TOML: {error}.") from error


def _override(fields: dict[str, Any], path: Sequence[str], value: object) -> None:
    for name in path[:-1]:
        if not isinstance(fields.get(name), dict):
            fields[name] = {}
        fields = fields[name]
    fields[path[-1]] = value


_OF_LINKS = {"rate_mbit_s": ("auto", "lan", "wan"), "rtt_ms": ("wan",), "emulator": ("wan",)}


def _cross_complaints(fields: Mapping[str, Any]) -> list[str]:
    """What is wrong between fields; says nothing about a field that is wrong in itself."""
    link, url, ssh = fields.get("link", "auto"), fields.get("url"), fields.get("ssh")
    complaints = []
    if link == "remote" and url is None and ssh is None:
        complaints.append(
            'url: a remote link needs the file\'s address; add url = "https://host:port/1MB.bin", or ssh = "user@host"'
        )
    for name in ("url", "ssh"):
        if fields.get(name) is not None and link != "remote":
            complaints.append(f'link: is "{link}", but there is a {name}; set link = "remote", or take the {name} away')
    complaints.extend(_ssh_complaints(fields))
    if isinstance(url, str):
        complaints.extend(_url_complaints(url))
    complaints.extend(_either_or(fields))
    complaints.extend(_of_stopping(fields))
    every_link = set(fields.get("links") or [link])
    for name, links in _OF_LINKS.items():
        if not every_link & set(links) and fields.get(name, default := Plan.model_fields[name].default) != default:
            shown = " and ".join(f'"{one}"' for one in sorted(every_link))
            complaints.append(
                f"{name}: belongs to {' and '.join(links)}, and the link is {shown}; take one of them away"
            )
    boundary, stacks = fields.get("boundary"), fields.get("stacks", [Stack.SSA])
    if boundary in ("preload", "both") and isinstance(stacks, list) and not {Stack.SSA, Stack.SSA_C} & set(stacks):
        complaints.append(f'boundary: is "{boundary}", but no stack is ssa; take it away, or add "ssa" to stacks')
    if isinstance(stacks, list):
        complaints.extend(_of_stacks(fields, [stack for stack in Stack if stack in stacks]))
    if fields.get("ca") is not None and url is None:
        complaints.append("ca: belongs to a url; the servers that the harness starts have a CA of their own")
    return complaints


def _of_stacks(fields: Mapping[str, Any], stacks: Sequence[Stack]) -> Iterator[str]:
    """What some stacks cannot be asked for."""
    far = next((name for name in ("url", "ssh") if fields.get(name) is not None), None)
    if Stack.PLAIN in stacks and far is not None:
        yield f"stacks: plain HTTP needs a server that the harness starts here; take it away, or the {far}"
    profiles = set(fields.get("profiles") or [fields.get("profile", Profile.SOUND)]) - {Profile.SOUND}
    for stack in stacks:
        if profiles and stack not in {Stack.OPENSSL, Stack.SSA}:
            shown = " and ".join(f'"{profile}"' for profile in sorted(map(str, profiles)))
            yield f'stacks: {stack} is measured with profile "sound" only, and the plan has {shown}; take one away'


def _either_or(fields: Mapping[str, Any]) -> Iterator[str]:
    for one, several in (("link", "links"), ("profile", "profiles")):
        default = Plan.model_fields[one].default
        if fields.get(several) and fields.get(one, default) != default:
            yield f"{several}: stands beside {one}, and only one of the two can be; take {one} away"


def _of_stopping(fields: Mapping[str, Any]) -> Iterator[str]:
    rule, blocks, judgement = (fields.get(name) for name in ("stopping", "blocks", "judgement"))
    if not isinstance(rule, dict):
        return
    first = rule.get("min_blocks", Stopping.model_fields["min_blocks"].default)
    if type(first) is int and type(blocks) is int and first >= blocks:
        yield f"stopping.min_blocks: is {first}, and the plan has {blocks} blocks, so there is no look; raise blocks"
    demanded = judgement.get("min_blocks") if isinstance(judgement, dict) else None
    if type(first) is int and type(demanded) is int and first < demanded:
        yield f"stopping.min_blocks: is {first}, and judgement.min_blocks demands {demanded} for a verdict; raise it"


def _ssh_complaints(fields: Mapping[str, Any]) -> Iterator[str]:
    if fields.get("ssh") is None:
        if fields.get("remote_port"):
            yield "remote_port: belongs to ssh, which puts a server on that host; take it away, or add ssh"
        return
    if fields.get("url") is not None:
        yield "ssh: stands beside url, and only one of the two can be; take one of them away"
    if (server := fields.get("server", "auto")) not in serving.KINDS:
        yield f'server: is "{server}", and over ssh there are {", ".join(serving.KINDS)}'


def _url_complaints(url: str) -> list[str]:
    try:
        target_of(url)
    except LinkUsageError as error:
        return [f"url: {error}"]
    return []
