"""One subject in one role with its application and its peers, running."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.machine import Parties, parent_of
from benchmarks.processes import PROGRAMS, START_S, Speaker, endpoint_command, speaking
from benchmarks.records import BenchmarkError, Role, Subject
from benchmarks.subjects import ADDRESS, BOUNDARIES, PROXIES, proxy, ssad, under_boundary
from webservers import Authority, Credentials

FULL, RESUMED = "full", "resumed"
_TICKETS = {FULL: 0, RESUMED: 2}  # a TLS 1.3 server that sends no ticket cannot be resumed


REVOCATION_LIST = "crl.pem"  # beside the certificates
ENGINE_SOCKET = "engine.sock"  # in the directory above them
PolicyOf = Callable[[Credentials], str]
"""from a scene's certificates to the text of its daemon's policy"""


@dataclass(frozen=True)
class Scene:
    """Who connects, to which port for which case, who listens there, and the processes of each party."""

    connector: Speaker
    ports: Mapping[str, int]
    listeners: Mapping[str, Speaker]
    parties: Parties

    @property
    def subject_pids(self) -> tuple[int, ...]:
        """Daemon and boundary, or the proxy; in process, the application itself."""
        pids = [pid for party in ("daemon", "boundary", "proxy") for pid in self.parties.get(party, ())]
        return tuple(pids) or self.parties["application"]


@contextmanager
def workplace() -> Iterator[tuple[Path, Credentials]]:
    """A directory that is gone afterwards, with the certificates of a test authority and its revocation list in it."""
    with tempfile.TemporaryDirectory(prefix="ssa-benchmarks-") as name:
        authority = Authority.create()
        credentials = authority.issue(Path(name) / "certificates")
        credentials.ca.with_name(REVOCATION_LIST).write_bytes(authority.revocation_list())
        yield Path(name), credentials


@contextmanager
def scene(subject: Subject, role: Role, policy: PolicyOf | None = None) -> Iterator[Scene]:
    """Start everybody; at the end nobody is left.  BenchmarkError says who could not be started."""
    with workplace() as (directory, credentials), ExitStack() as stack:
        builder = _Builder(subject, directory, credentials, stack)
        if policy is not None:
            builder.policy = policy(credentials)
        yield builder.build(role)


class _Builder:
    def __init__(self, subject: Subject, directory: Path, credentials: Credentials, stack: ExitStack) -> None:
        self._subject = subject
        self._directory = directory
        self._credentials = credentials
        self._stack = stack
        self._parties: dict[str, tuple[int, ...]] = {}
        self._daemon: Path | None = None
        self.policy = ""

    def build(self, role: Role) -> Scene:
        if self._subject in BOUNDARIES:
            if ENGINE_SOCKET in self.policy:
                self._start_engine()
            daemon = self._stack.enter_context(ssad(self._directory, self._credentials, self.policy))
            self._daemon, self._parties["daemon"] = daemon.socket, daemon.pids
        return self._client() if role is Role.CLIENT else self._server()

    def _start_engine(self) -> None:
        command = [sys.executable, str(PROGRAMS / "engine.py"), str(self._directory / ENGINE_SOCKET)]
        speaker = self._stack.enter_context(speaking("engine", command, self._directory / "engine.log"))
        self._parties["engine"] = (int(speaker.expect(START_S)["pid"]),)

    def _client(self) -> Scene:
        peers, ports = {}, {}
        for case, tickets in _TICKETS.items():
            peers[case], ports[case] = self._endpoint(
                "peer", {"side": "listen", "transport": "tls", "tickets": tickets}
            )
        connector, _ = self._endpoint("application", {"side": "connect", "transport": self._transport})
        return Scene(connector, self._through_proxy(Role.CLIENT, ports), peers, self._parties)

    def _server(self) -> Scene:
        setup = {"side": "listen", "transport": self._transport, "tickets": 2}
        application, port = self._endpoint("application", setup)
        ports = self._through_proxy(Role.SERVER, {FULL: port})
        connector, _ = self._endpoint("peer", {"side": "connect", "transport": "tls"})
        listeners = dict.fromkeys(_TICKETS, application)
        return Scene(connector, dict.fromkeys(_TICKETS, ports[FULL]), listeners, self._parties)

    @property
    def _transport(self) -> str:
        return "ssa" if self._subject in BOUNDARIES else "plain" if self._subject in PROXIES else "tls"

    def _through_proxy(self, role: Role, backends: dict[str, int]) -> Mapping[str, int]:
        if self._subject not in PROXIES:
            return backends
        running = proxy(self._subject, role, backends, self._credentials, self._directory)
        found = self._stack.enter_context(running)
        self._parties["proxy"] = found.pids
        return found.ports

    def _endpoint(self, party: str, setup: dict[str, object]) -> tuple[Speaker, int]:
        """Start one end; its port when it listens."""
        files = {name: str(getattr(self._credentials, name)) for name in ("ca", "chain", "key")}
        whole = {**setup, **files, "address": ADDRESS, "name": self._credentials.server_name}
        command = endpoint_command(whole)
        if setup["transport"] == "ssa":
            assert self._daemon is not None
            command = under_boundary(self._subject, self._daemon, command)
        speaker = self._stack.enter_context(speaking(party, command, self._directory / f"{party}.log"))
        ready = speaker.expect(START_S)
        if "pid" not in ready:
            raise BenchmarkError(f"the {party} said {json.dumps(ready)}")
        pid = int(ready["pid"])
        self._parties[party] = (*self._parties.get(party, ()), pid)
        if setup["transport"] == "ssa" and self._subject is Subject.SECCOMP:
            self._parties["boundary"] = (parent_of(pid),)
        return speaker, int(ready.get("port", 0))
