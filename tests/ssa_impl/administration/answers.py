"""A daemon that knows its answers by heart, and one example of each."""

from __future__ import annotations

from ssa_impl.administration.answers import (
    Drained,
    Explanation,
    PolicyStatus,
    Profiles,
    ProfileStatus,
    Reloaded,
    Sessions,
    SessionStatus,
    Status,
    Value,
    WorkerStatus,
)
from ssa_impl.administration.interface import Caller, Question, Refused

STATUS = Status(
    version="0.1.0",
    pid=4711,
    user="root",
    socket="/run/ssad/control.sock",
    started_at_s=1_760_000_000.0,
    openssl="OpenSSL 4.0.0",
    workers=(WorkerStatus(0, 4712, "ready", 3), WorkerStatus(1, 4713, "silent", 0, 2)),
    policy=PolicyStatus(("/etc/ssa/ssa.toml",), 1_760_000_001.5, 2, "ssa.toml:3: no such key"),
    hardening=("workers cannot execute programs",),
)
SESSIONS = tuple(
    SessionStatus(
        id=number + 1,
        uid=uid,
        pid=100 + number,
        profile="default",
        state="connected",
        role="initiator",
        executable="/usr/bin/curl",
        hostname="example.org",
        peer="192.0.2.1:443",
        version="TLSv1.3",
        cipher="TLS_AES_256_GCM_SHA384",
        received_bytes=1_048_576,
        sent_bytes=78,
        opened_at_s=1_760_000_100.0,
        worker=number % 2,
    )
    for number, uid in enumerate((0, 1000, 65534))
)
PROFILES = Profiles((ProfileStatus("default", "TLSv1.2-TLSv1.3", "system", "", ("everything else",), 3),))
EXPLANATION = Explanation(
    "/usr/bin/curl of root",
    "default",
    "no rule: the default profile",
    (Value("version_min", "TLSv1.2", "packaged default"),),
    ("trust-store: necessary",),
)


class Scripted:
    """A provider; ``asked`` is what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[object] = []

    async def status(self) -> Status:
        self.asked.append("status")
        return STATUS

    async def sessions(self, uid: int | None, limit: int) -> Sessions:
        self.asked.append(("sessions", uid, limit))
        mine = [session for session in SESSIONS if uid is None or session.uid == uid]
        return Sessions(tuple(mine[:limit]), len(mine))

    async def profiles(self) -> Profiles:
        return PROFILES

    async def explain(self, question: Question, caller: Caller) -> Explanation:
        self.asked.append((question, caller))
        return EXPLANATION

    async def reload(self, *, enforce: bool) -> Reloaded:
        self.asked.append(("reload", enforce))
        if enforce:
            raise Refused(
                "the policy was not changed: 2 complaints", ("ssa.toml:3: no such key", "ssa.toml:9: a cycle")
            )
        return Reloaded(("/etc/ssa/ssa.toml",), 2)

    async def drain(self) -> Drained:
        return Drained(7)

    async def metrics(self) -> str:
        return "# EOF\n"


class Defective(Scripted):
    """One that fails in a way that nobody thought of."""

    async def status(self) -> Status:
        raise ZeroDivisionError
