"""stunnel and HAProxy as client-side TLS proxies: found, configured, their logs read."""

from __future__ import annotations

import ipaddress
import os
import re
import shutil
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from harness.clients.target import PROXY_ADDRESS
from harness.errors import CannotError

Terms = dict[str, str | bool | None]
"""What one connection negotiated, in the names of :class:`harness.records.Sample`."""

_SEARCH = os.pathsep.join(("/usr/sbin", "/usr/local/sbin"))
_GROUP = "x25519"  # what OpenSSL prefers where it does not know X25519MLKEM768


@dataclass(frozen=True)
class Settings:
    """What a proxy needs to know."""

    address: str  # of the server: IP literal
    port: int
    server_name: str  # what the certificate must be good for
    ca_file: str
    threads: int
    directory: str  # of the proxy's own: configuration and log

    @property
    def is_named(self) -> bool:
        """Whether the server has a name, and not only an address."""
        try:
            ipaddress.ip_address(self.server_name)
        except ValueError:
            return True
        return False


@dataclass
class Told:
    """What a log tells: the terms of each connection by the client's port, and complaints."""

    terms: dict[int, Terms] = field(default_factory=dict)
    complaints: list[str] = field(default_factory=list)


class Kind(ABC):
    """One proxy program."""

    name: ClassVar[str]
    programs: ClassVar[tuple[str, ...]]
    package: ClassVar[str]  # of Debian
    environment: ClassVar[Mapping[str, str]] = {}  # further files, by the variable that names them

    def executable(self) -> str:
        """Where it is.  CannotError when it is not installed."""
        for program in self.programs:
            if found := shutil.which(program) or shutil.which(program, path=_SEARCH):
                return found
        raise CannotError(
            f"{self.name} is not installed; the system's package `{self.package}` (apt install {self.package}) makes"
            f" the stack {self.name} available."
        )

    def versions(self) -> dict[str, str | None]:
        """``version`` and ``openssl``: of the program, and of the library that it runs with."""
        question = [self.executable(), *self._version_question]
        try:
            done = subprocess.run(question, capture_output=True, text=True, timeout=30, check=True)
        except (OSError, subprocess.SubprocessError) as error:
            raise CannotError(f"{self.executable()} does not run: {error}.") from error
        said = done.stdout + done.stderr
        return {
            "version": _found(self._version_pattern, said),
            "openssl": _found(r"Running\s+(?:with|on OpenSSL version :)\s+(OpenSSL .+)", said),
        }

    _version_question: ClassVar[tuple[str, ...]]
    _version_pattern: ClassVar[str]

    @abstractmethod
    def configuration(self, settings: Settings, port: int) -> str:
        """The file that it is given, to listen on that port.  CannotError for what it cannot be told."""

    @abstractmethod
    def argv(self, file: Path) -> list[str]:
        """How it is started with that file, in the foreground."""

    @abstractmethod
    def read_log(self, lines: list[str], told: Told) -> None:
        """Add what some lines of the log tell."""


class Stunnel(Kind):
    """One thread a connection."""

    name = "stunnel"
    programs = ("stunnel4", "stunnel")
    package = "stunnel4"
    _version_question = ("-version",)
    _version_pattern = r"(stunnel \d[\w.]*)"

    def __init__(self) -> None:
        self._ports: dict[str, int] = {}  # the log numbers the connections

    def configuration(self, settings: Settings, port: int) -> str:
        about = f"{'checkHost' if settings.is_named else 'checkIP'} = {settings.server_name}"
        lines = [
            "foreground = quiet",
            "pid =",
            "syslog = no",
            "debug = info",
            f"output = {settings.directory}/log",
            "socket = l:TCP_NODELAY=1",
            "socket = r:TCP_NODELAY=1",
            "[tls]",
            "client = yes",
            f"accept = {PROXY_ADDRESS}:{port}",
            f"connect = {_joined(settings)}",
            "sslVersionMin = TLSv1.2",
            f"CAfile = {settings.ca_file}",
            "verifyChain = yes",
            about,
            "sessionResume = no",
            *([f"sni = {settings.server_name}"] if settings.is_named else []),
        ]
        return "\n".join(lines) + "\n"

    def argv(self, file: Path) -> list[str]:
        return [self.executable(), str(file)]

    def read_log(self, lines: list[str], told: Told) -> None:
        for line in lines:
            found = re.search(r"LOG(\d)\[([^]]+)\]: (.*)", line)
            if found is None:
                continue
            level, connection, text = found.groups()
            if accepted := re.search(r"accepted connection from \S+:(\d+)$", text):
                self._ports[connection] = int(accepted[1])
                told.terms[self._ports[connection]] = {"tls_alpn": ""}  # none is offered
            elif connection in self._ports:
                told.terms.setdefault(self._ports[connection], {}).update(_stunnel_terms(text))
            if int(level) <= 4 and connection != "ui":  # errors and warnings
                told.complaints.append(text)


def _stunnel_terms(text: str) -> Iterator[tuple[str, str | bool]]:
    if suite := re.match(r"(TLSv[\d.]+) ciphersuite: (\S+)", text):
        yield "tls_version", suite[1]
        yield "tls_cipher", suite[2]
    elif key := re.match(r"Peer temporary key: (?:ECDH, )?([^,]+)", text):
        yield "tls_group", _GROUPS.get(key[1], key[1])
    elif text.startswith("TLS connected: "):
        yield "tls_resumed", "new session" not in text


_GROUPS = {
    "X25519": "x25519",
    "X448": "x448",
    "P-256": "secp256r1",
    "prime256v1": "secp256r1",
    "P-384": "secp384r1",
    "P-521": "secp521r1",
}


class Haproxy(Kind):
    """As many threads as the server has workers."""

    name = "haproxy"
    programs = ("haproxy",)
    package = "haproxy"
    environment: ClassVar[Mapping[str, str]] = {
        # Its log cannot tell the group, so it is given one only; whatever else is needed fails in the handshake.
        "OPENSSL_CONF": "openssl_conf = init\n[init]\nssl_conf = ssl\n[ssl]\nsystem_default = tls\n"
        f"[tls]\nMinProtocol = TLSv1.2\nGroups = {_GROUP.upper()}\n"
    }
    _version_question = ("-vv",)
    _version_pattern = r"(HAProxy version \d[\w.]*)"

    def configuration(self, settings: Settings, port: int) -> str:
        if not settings.is_named:
            raise CannotError("HAProxy verifies names, not addresses; say the server's name in the url.")
        shown = "%[ssl_bc_protocol] %[ssl_bc_cipher] %[ssl_bc_is_resumed] %[ssl_s_der,sha2(256),hex] %[ssl_bc_err_str]"
        name = settings.server_name
        verify = f"verify required ca-file {settings.ca_file} sni str({name}) verifyhost {name}"
        lines = [
            "global",
            "    maxconn 5000",
            f"    nbthread {settings.threads}",
            "    log stdout format raw local0",
            "defaults",
            "    mode tcp",
            "    log global",
            "    backlog 4096",
            "    timeout connect 60s",
            "    timeout client 3600s",
            "    timeout server 3600s",
            "listen tls",
            f"    bind {PROXY_ADDRESS}:{port}",
            "    option logasap",
            "    retries 0",
            f'    log-format "connection %ci:%cp %ts {shown}"',
            f"    server tls {_joined(settings)} ssl ssl-min-ver TLSv1.2 no-ssl-reuse {verify}",
        ]
        return "\n".join(lines) + "\n"

    def argv(self, file: Path) -> list[str]:
        return [self.executable(), "-db", "-f", str(file)]

    def read_log(self, lines: list[str], told: Told) -> None:
        for line in lines:
            found = re.match(r"connection \S+:(\d+) (\S+) (\S+) (\S+) (\S+) (\S+) ?(.*)", line)
            if found is None:
                continue
            port, state, version, cipher, resumed, leaf, error = found.groups()
            if state == "--" or error in {"", "-"}:
                told.terms[int(port)] = {
                    "tls_version": version,
                    "tls_cipher": cipher,
                    "tls_resumed": resumed == "1",
                    "tls_group": _GROUP,
                    "tls_alpn": "",
                    "peer_certificate_sha256": leaf.lower(),
                }
            else:
                told.complaints.append(error)


KINDS: dict[str, type[Kind]] = {kind.name: kind for kind in (Stunnel, Haproxy)}


def _joined(settings: Settings) -> str:
    address = f"[{settings.address}]" if ":" in settings.address else settings.address
    return f"{address}:{settings.port}"


def _found(pattern: str, text: str) -> str | None:
    match = re.search(pattern, text)
    return match[1].strip() if match else None
