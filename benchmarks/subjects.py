"""What does the TLS: the daemon with one of its boundaries, or a proxy; found, configured, started."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from benchmarks.machine import is_listening
from benchmarks.processes import START_S, Speaker, guarded, wait_until
from benchmarks.records import BenchmarkError, Role, Subject
from webservers import Credentials
from webservers.guard import descendants

BOUNDARIES = {Subject.SECCOMP: "seccomp", Subject.PRELOAD: "preload"}
PROXIES = {Subject.STUNNEL: "stunnel4", Subject.HAPROXY: "haproxy"}
ADDRESS = "127.0.0.1"
CORES = len(os.sched_getaffinity(0))


@dataclass(frozen=True)
class Daemon:
    """A running ssad."""

    socket: Path
    pids: tuple[int, ...]


@contextmanager
def ssad(directory: Path, credentials: Credentials, policy: str = "") -> Iterator[Daemon]:
    """The daemon, one worker a core, with the test's authority as the system's trust store."""
    path = directory / "ssad.sock"
    program = [sys.executable, "-m", "ssa_impl.cli.ssad", "--socket", str(path), "--workers", str(CORES)]
    (directory / "ssa.toml").write_text(policy, encoding="utf-8")
    program += ["--policy", str(directory / "ssa.toml")]
    with guarded("SSA daemon", program, directory / "ssad.log", SSL_CERT_FILE=str(credentials.ca)) as speaker:
        ready = speaker.expect(START_S)
        yield Daemon(path, (int(ready["pid"]), *map(int, ready["workers"])))


def under_boundary(subject: Subject, daemon: Path, command: Sequence[str]) -> list[str]:
    """The command under ``ssa run``."""
    ssa = [sys.executable, "-m", "ssa_impl.cli.ssa", "run", "--boundary", BOUNDARIES[subject]]
    return [*ssa, "--socket", str(daemon), "--", *command]


@dataclass(frozen=True)
class Proxy:
    """A running proxy: where the connecting side reaches it, by service."""

    ports: Mapping[str, int]
    pids: tuple[int, ...]


@contextmanager
def proxy(
    subject: Subject, role: Role, backends: Mapping[str, int], credentials: Credentials, directory: Path
) -> Iterator[Proxy]:
    """A proxy with one service for each backend; it does TLS towards them (client) or in front of them (server)."""
    ports = dict(zip(backends, _free_ports(len(backends)), strict=True))
    configure = _stunnel if subject is Subject.STUNNEL else _haproxy
    path = directory / f"{subject}.conf"
    path.write_text(configure(role, ports, backends, credentials), encoding="utf-8")
    arguments = [str(path)] if subject is Subject.STUNNEL else ["-db", "-f", str(path)]
    command = [str(shutil.which(PROXIES[subject])), *arguments]
    with guarded(subject, command, directory / f"{subject}.log") as speaker:
        for port in ports.values():
            wait_until(lambda port=port: is_listening(port), speaker, f"{subject} does not listen")  # type: ignore[misc]
        yield Proxy(ports, _below(speaker))


def _below(speaker: Speaker) -> tuple[int, ...]:
    return tuple(descendants(speaker.process.pid))


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server((ADDRESS, 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in sockets]
    for listener in sockets:
        listener.close()
    return ports


def _stunnel(role: Role, ports: Mapping[str, int], backends: Mapping[str, int], credentials: Credentials) -> str:
    lines = ["foreground = yes", "pid =", "syslog = no", "debug = err"]
    lines += ["socket = l:TCP_NODELAY=1", "socket = r:TCP_NODELAY=1", "sslVersionMin = TLSv1.3"]
    for name, backend in backends.items():
        lines += [f"[{name}]", f"accept = {ADDRESS}:{ports[name]}", f"connect = {ADDRESS}:{backend}"]
        if role is Role.CLIENT:
            lines += ["client = yes", f"CAfile = {credentials.ca}", "verifyChain = yes"]
            lines += [f"checkHost = {credentials.server_name}", f"sni = {credentials.server_name}"]
        else:
            lines += [f"cert = {credentials.chain}", f"key = {credentials.key}"]
    return "\n".join(lines) + "\n"


def _haproxy(role: Role, ports: Mapping[str, int], backends: Mapping[str, int], credentials: Credentials) -> str:
    lines = ["global", "    maxconn 5000", f"    nbthread {CORES}"]
    lines += ["defaults", "    mode tcp", "    maxconn 5000", "    backlog 4096"]
    lines += ["    timeout connect 30s", "    timeout client 300s", "    timeout server 300s"]
    for name, backend in backends.items():
        bind, server = f"    bind {ADDRESS}:{ports[name]}", f"    server {name} {ADDRESS}:{backend}"
        if role is Role.CLIENT:
            server += f" ssl ssl-min-ver TLSv1.3 verify required ca-file {credentials.ca}"
            server += f" sni str({credentials.server_name}) verifyhost {credentials.server_name}"
        else:
            both = credentials.chain.with_name("chain-and-key.pem")
            both.write_bytes(credentials.chain.read_bytes() + credentials.key.read_bytes())
            bind += f" ssl ssl-min-ver TLSv1.3 crt {both}"
        lines += [f"listen {name}", bind, server]
    return "\n".join(lines) + "\n"


@cache
def why_missing(subject: Subject) -> str:
    """Why this machine does not have a subject; empty when it has."""
    if (program := PROXIES.get(subject)) is not None:
        return "" if shutil.which(program) else f"{program} is not installed (Debian package {program})"
    if subject is Subject.IN_PROCESS:
        return ""
    done = subprocess.run(
        under_boundary(subject, Path("/dev/null"), [sys.executable, "-c", ""]),
        capture_output=True,
        text=True,
        timeout=START_S,
        check=False,
    )
    said = done.stderr.strip().splitlines()
    return "" if done.returncode == 0 else f"ssa run cannot use it here: {said[-1] if said else done.returncode}"


def require(subject: Subject) -> None:
    """BenchmarkError when this machine does not have it."""
    if reason := why_missing(subject):
        raise BenchmarkError(reason)
