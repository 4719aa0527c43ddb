"""What a campaign leaves behind: the one vocabulary between the harness, which writes it, and the analysis.

A *campaign* is one directory of results.  ``trials.jsonl`` holds one :class:`Trial` a line, ``samples.jsonl``
one :class:`Sample` a line, each appended and fsynced when its trial has ended, and never changed afterwards;
the Parquet files are the same rows as columns.  A trial that was repeated stands there as often as it was
tried: ``(trial_id, attempt)`` is the key, and ``sequence`` the order in which things really happened.

Units are in the names; times are integers in nanoseconds as measured, CLOCK_MONOTONIC, and where a name says
``_offset_ns`` they count from the trial's *intended* release.  A value that could not be measured is ``None``
(never 0).  This module imports nothing of ours.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from itertools import product
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, field_validator

SCHEMA_VERSION = 1

Count = Annotated[int, Field(ge=0)]
Ns = Annotated[int, Field(ge=0)]


class Stack(StrEnum):
    """How a client reaches TLS."""

    OPENSSL = "openssl"  # pyOpenSSL in a process of Python
    SSA = "ssa"  # a socket of the operating system, in a process of Python
    PLAIN = "plain"  # no TLS at all: the floor
    OPENSSL_C = "openssl-c"  # the system's libssl in a process of C
    SSA_C = "ssa-c"  # a socket of the operating system, in a process of C
    STUNNEL = "stunnel"  # plain to a proxy on loopback, which does the TLS
    HAPROXY = "haproxy"  # likewise

    @property
    def is_ssa(self) -> bool:
        """TLS is the daemon's, reached through a boundary."""
        return self in {Stack.SSA, Stack.SSA_C}

    @property
    def is_c(self) -> bool:
        """The client is a program of C, built on demand."""
        return self in {Stack.OPENSSL_C, Stack.SSA_C}

    @property
    def is_proxy(self) -> bool:
        """TLS is a local proxy's."""
        return self in {Stack.STUNNEL, Stack.HAPROXY}

    @property
    def has_own_openssl(self) -> bool:
        """Its OpenSSL is the system's, and not the one that pyOpenSSL and the daemon share."""
        return self is Stack.OPENSSL_C or self.is_proxy


class Boundary(StrEnum):
    """Where an SSA client's calls leave it."""

    SECCOMP = "seccomp"
    PRELOAD = "preload"


class Link(StrEnum):
    """What lies between client and server."""

    LOOPBACK = "loopback"  # unshaped, CPU-bound
    LAN = "lan"  # two network namespaces, veth, token bucket (emulated)
    WAN = "wan"  # the same, and a delay (emulated)
    REMOTE = "remote"  # a real server that the user named

    @property
    def is_emulated(self) -> bool:
        """Shaped on one machine, and always labelled so."""
        return self in (Link.LAN, Link.WAN)


class Profile(StrEnum):
    """What the clock encloses (EXPERIMENT.md section 3); profiles are never mixed in one fit."""

    SOUND = "sound"  # release to last byte: TCP, handshake with verification, request, body
    TRANSFER = "transfer"  # request to last byte; connected before the release
    COLD_START = "cold-start"  # as sound, and the context and a system's trust store are made inside the clock
    PAPER_2018 = "paper-2018"  # the published harness's design, which is not a fair one: never a verdict


class Outcome(StrEnum):
    """How a trial or a sample ended.

    Only pairs whose trials are both ``ok`` in one attempt enter the fit; the others are kept, counted,
    re-queued.
    """

    OK = "ok"
    FAILED = "failed"  # a client reported an error, died, or got a wrong body
    TIMEOUT = "timeout"  # not everybody had finished when the trial's time was up
    INVALID = "invalid"  # everybody finished, but the two sides of the pair are not comparable
    ABORTED = "aborted"  # the daemon, a server or the fleet was lost


class Record(BaseModel):
    """Frozen, and refuses unknown fields: a file from another version is noticed, not guessed at."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Told(Record):
    """What a person writes; no field of it is true or false, and true is not taken for 1."""

    @field_validator("*", mode="before")
    @classmethod
    def _no_boolean(cls, value: object) -> object:
        if any(isinstance(one, bool) for one in (value if isinstance(value, list | tuple) else [value])):
            raise ValueError("no field is true or false; write a number or a text")
        return value


class Judgement(Told):
    """The part of a plan that the analysis obeys; fixed before the data are seen."""

    alpha: float = Field(0.05, gt=0, lt=0.5, description="two-sided error rate of the confirmatory tests")
    margin_ms_per_process: float = Field(0.4, gt=0, description="equivalence margin (paper, section 6.2: upper end)")
    margin_percent_of_slope: float = Field(5.0, gt=0, description="scale-free equivalence margin, % of OpenSSL's slope")
    relevant_ms_per_process: float = Field(0.25, gt=0, description="the effect that power is computed for")
    power: float = Field(0.8, gt=0, lt=1, description="below this the report says 'underpowered' and gives no verdict")
    min_blocks: int = Field(5, ge=2, description="fewer complete blocks are 'underpowered' whatever the residuals")


class Stopping(Told):
    """``[stopping]`` in a plan: end the campaign early, by the width of its intervals and by nothing else.

    What the intervals say (their place, a p value, a verdict) never enters, see docs/decisions/0016.
    """

    half_width_ms: float = Field(
        gt=0, le=1000, description="wanted half-width of the primary interval in every part, ms per process"
    )
    min_blocks: int = Field(10, ge=10, description="complete blocks before the first look")
    look_every: int = Field(2, ge=1, description="complete blocks from one look to the next")

    def looks(self, blocks: int) -> range:
        """After how many blocks there is a look in a campaign of at most so many; after its last there is none."""
        return range(self.min_blocks, blocks, self.look_every)

    def is_reached(self, half_widths_ms: Iterable[float | None]) -> bool:
        """Whether every interval is narrow enough; one that cannot be computed (None) is not."""
        return all(one is not None and one <= self.half_width_ms for one in half_widths_ms)


class HalfWidth(Record):
    """How wide the primary interval is in one part, so far."""

    link: Link = Field(description="of the part")
    profile: Profile = Field(description="of the part")
    boundary: Boundary = Field(description="of the part")
    ms: float | None = Field(description="half-width of the slope difference's interval, ms per process")
    reason: str = Field("", description="why there is none, when there is none")


class Look(Record):
    """One look of a plan with ``[stopping]``, between two blocks: ``looks.jsonl``, which others do not have."""

    schema_version: int = Field(default=SCHEMA_VERSION, description="of this file's format")
    blocks: int = Field(ge=1, description="complete when it was taken")
    trials: Count = Field(description="recorded when it was taken: it stands before the trial of this sequence")
    looked_at: str = Field(description="UTC, ISO 8601")
    took_ns: Ns = Field(description="how long it took; nothing else runs meanwhile")
    half_widths: tuple[HalfWidth, ...] = Field(description="one a link, profile and boundary")
    stop: bool = Field(description="whether the campaign ended here, by the rule")


class Claim(Told):
    """``[claim]`` in a plan file: what the plan is run for; no part of the plan, nor of its hash."""

    says: str = Field(min_length=1, description="the claim, one sentence")
    expected: str = Field(min_length=1, description="what a repetition should find, in words")
    minutes: int = Field(ge=1, description="on two cores")
    data: str = Field("", pattern=r"^[a-z0-9-]*$", description="directory below results/; empty: the plan's name")
    slope_ms: tuple[float, float] | None = Field(None, description="expected range of the slope difference")
    cpu_ratio: tuple[float, float] | None = Field(None, description="expected range of the ratio of CPU per MB")
    verdicts: tuple[str, ...] = Field((), description="expected verdicts; 'passed' for A/A, 'none' where there is none")


class Cpu(Record):
    """CPU time of one party during a trial's window (set-up excluded).

    ``total_ns`` comes from the scheduler (each process's CPU-time clock, or getrusage for clients) and is
    exact; the split has the kernel's resolution (clock ticks for processes that outlive the trial).
    """

    user_ns: Ns = Field(description="in user space")
    system_ns: Ns = Field(description="in the kernel")
    total_ns: Ns = Field(description="both; exact")
    peak_rss_bytes: Count | None = Field(
        None, description="sum of the peaks; pages that processes share count for each"
    )


class Trial(Record):
    """One release of ``n`` processes of one stack."""

    schema_version: int = Field(default=SCHEMA_VERSION, description="of this file's format")
    campaign: str = Field(description="the directory's name when it was made")
    trial_id: str = Field(description="block, pair, arm and n: b03-p0017-ssa-n042")
    attempt: int = Field(
        ge=1, description="of its pair: when either trial fails, both are run again as the next attempt"
    )
    sequence: Count = Field(description="position in the real order of execution, retries included")
    block: Count = Field(description="one complete randomised pass through all n, counted from 0")
    pair: Count = Field(description="both arms of one n in one block, back to back; counted through the campaign")
    position: int = Field(ge=0, le=1, description="0: first of its pair")
    arm: int | None = Field(
        None, ge=0, le=1, description="index into the plan's stacks; tells an A/A pair's sides apart"
    )
    stack: Stack = Field(description="how the clients reach TLS: openssl, ssa, plain, openssl-c, ...")
    n: int = Field(ge=1, description="concurrent client processes")
    profile: Profile = Field(description="what the clock encloses: sound, transfer, cold-start or paper-2018")
    link: Link = Field(description="loopback, lan (emulated), wan (emulated) or remote")
    server: str = Field(description="granian, nginx, lighttpd, apache, caddy, or external")
    boundary: Boundary | None = Field(None, description="ssa and ssa-c only: seccomp or preload")
    size_bytes: int = Field(ge=1, description="of the file that is downloaded")
    read_size_bytes: int = Field(ge=1, description="most that one read asks for")
    outcome: Outcome = Field(description="ok, failed, timeout, invalid or aborted; only ok enters the fit")
    reason: str = Field("", description="one sentence when the outcome is not ok")
    seed: int = Field(description="of the order of trials")
    started_at: str = Field(description="UTC, ISO 8601")
    release_ns: Ns | None = Field(description="intended release, CLOCK_MONOTONIC")
    elapsed_ns: Ns | None = Field(description="intended release to the slowest process's last byte")
    release_spread_ns: Ns | None = Field(description="last minus first process seen running after the release")
    setup_ns: Ns = Field(description="trial's start to release: forks, imports, contexts, trust stores")
    teardown_ns: Ns = Field(description="last byte to the trial's end: hashes, reports, reaping")
    cpu_clients: Cpu | None = Field(None, description="all n client processes, release to last byte")
    cpu_daemon: Cpu | None = Field(
        None, description="what does TLS for the clients: ssad and its workers, or stunnel, or haproxy"
    )
    cpu_boundary: Cpu | None = Field(None, description="seccomp only: the supervisor of `ssa run`")
    cpu_server: Cpu | None = Field(None, description="None when the server is not ours")
    link_tx_bytes: Count | None = Field(None, description="server to clients, on the link's interface")
    link_rx_bytes: Count | None = Field(None, description="clients to server")
    tcp_retransmits: Count | None = Field(None, description="segments resent in the trial's namespaces")
    load_1min: float | None = Field(None, description="the machine's load average when the trial began")


class Sample(Record):
    """One client process in one trial."""

    schema_version: int = Field(default=SCHEMA_VERSION, description="of this file's format")
    trial_id: str = Field(description="of its trial")
    attempt: int = Field(ge=1, description="of its trial")
    sequence: Count = Field(description="of its trial")
    process: Count = Field(description="0 ... n-1")
    pid: Count | None = Field(description="None when it did not live to say")
    outcome: Outcome = Field(description="ok, failed, timeout or aborted")
    error: str = Field("", description="one sentence when the outcome is not ok")
    errno: int | None = Field(None, description="of the system call that failed, when one did")
    released_offset_ns: int | None = Field(None, description="when this process was first seen running")
    tcp_offset_ns: Ns | None = Field(None, description="TCP connected to the server (None: ssa, proxies)")
    tls_offset_ns: Ns | None = Field(None, description="handshake and verification done (None: plain, proxies)")
    first_byte_offset_ns: Ns | None = Field(None, description="first bytes of the response read")
    last_byte_offset_ns: Ns | None = Field(None, description="last byte of the body read")
    body_bytes: Count | None = Field(None, description="length of the body, without headers")
    body_sha256: str | None = Field(None, description="of the body, computed outside the window")
    cpu_user_ns: Ns | None = Field(None, description="getrusage, release to last byte")
    cpu_system_ns: Ns | None = Field(None, description="getrusage, release to last byte")
    peak_rss_bytes: Count | None = Field(None, description="getrusage; pages shared with the fleet included")
    tls_version: str | None = Field(None, description="TLSv1.3")
    tls_cipher: str | None = Field(None, description="TLS_AES_256_GCM_SHA384")
    tls_group: str | None = Field(None, description="x25519, X25519MLKEM768, ...")
    tls_alpn: str | None = Field(None, description="selected protocol, '' when none")
    tls_resumed: bool | None = Field(None, description="whether a session was resumed; a campaign has full handshakes")
    peer_certificate_sha256: str | None = Field(None, description="of the leaf's DER: same leaf, same signature")
    openssl: str | None = Field(None, description="the build that did the TLS: OpenSSL 4.0.3 29 Sep 2026")


class LinkSample(Record):
    """The link in one trial: ``links.jsonl``, which campaigns older than it do not have."""

    schema_version: int = Field(default=SCHEMA_VERSION, description="of this file's format")
    trial_id: str = Field(description="of its trial")
    attempt: int = Field(ge=1, description="of its trial")
    sequence: Count = Field(description="of its trial")
    rtt_idle_us: float | None = Field(
        description="median of 20 TCP connects on the idle link, before the trial's block"
    )
    emulator: str | None = Field(None, description="wan only: what delayed packets, netem or tun; older campaigns: tun")
    cpu_emulator: Cpu | None = Field(
        None, description="tun only: the process that delays packets, with what both ends' TCP does as it delivers them"
    )
    emulator_waited_ns: Ns | None = Field(None, description="tun only: time that it wanted a CPU and had none")
    delivered: Count | None = Field(
        None,
        description="wan only: packets that were delayed (tun: as large as the kernel makes them; netem: as on a wire)",
    )
    dropped: Count | None = Field(None, description="wan only: packets for which the emulator had no room")
    late_100us: Count | None = Field(None, description="tun only: packets delivered more than 0.1 ms late")
    late_500us: Count | None = Field(None, description="more than 0.5 ms late")
    late_1ms: Count | None = Field(None, description="more than 1 ms late")
    late_2ms: Count | None = Field(None, description="more than 2 ms late")
    late_5ms: Count | None = Field(None, description="more than 5 ms late")
    late_10ms: Count | None = Field(None, description="more than 10 ms late")
    late_50ms: Count | None = Field(None, description="more than 50 ms late")


class Manifest(Record):
    """What analysis needs to know of the plan: ``manifest`` in ``plan.json``, beside the whole plan."""

    schema_version: int = SCHEMA_VERSION
    campaign: str
    preset: str
    profile: Profile
    link: Link
    server: str
    size_bytes: int = Field(ge=1)
    levels: tuple[int, ...] = Field(description="the values of n")
    blocks: int = Field(ge=1)
    stacks: tuple[Stack, Stack] = Field(description="baseline first; an A/A arm has the same stack twice")
    boundaries: tuple[Boundary, ...] = Field(
        default=(Boundary.SECCOMP,), min_length=1, description="each n is one pair of stacks for each boundary"
    )
    seed: int
    plan_sha256: str
    judgement: Judgement
    inject_ms_per_process: float = Field(default=0.0, ge=0, description="held back in the second arm, a known truth")
    links: tuple[Link, ...] = Field(default=(), description="every link; older campaigns have one, and do not say so")
    profiles: tuple[Profile, ...] = Field(default=(), description="every profile; likewise")
    stopping: Stopping | None = Field(default=None, description="the rule by which it may end before its last block")

    @property
    def parts(self) -> tuple[tuple[Link, Profile], ...]:
        """What is judged apart, never in one fit: each profile on each link."""
        return tuple(product(self.links or (self.link,), self.profiles or (self.profile,)))


LOOKS = "looks.jsonl"
CAMPAIGN_FILES = ("plan.json", "environment.json", "trials.jsonl", "samples.jsonl")
