"""Our web server on a host at the far end of ssh: which one, its files, its start; and the host's clock.

The host's own nginx, else granian, which its python3 has or its pip can install into a virtual environment in the
agent's directory.  Nothing else is asked of the host, and nothing stays there.
"""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.links.interface import LinkError, LinkUnavailableError
from harness.links.ssh import Session
from webservers import Offer, ServerConfig, WebServerError, granian, guard, nginx, probe
from webservers.process import READY, READY_NAME, leaf_of

KINDS = ("auto", "nginx", "granian")

_CLOCK_LOOKS = 8
_INSTALL_S = 600.0
_ANSWER_S = 15.0  # for the server to be ready


@dataclass(frozen=True)
class Found:
    """A server that the host has."""

    kind: str
    executable: str  # granian: the Python that has it
    version: str


@dataclass(frozen=True)
class Served:
    """A server that answers."""

    found: Found
    config: ServerConfig  # with the paths on the host
    port: int
    offers: Offer

    def describe(self) -> dict[str, object]:
        """For environment.json, as every server of ours."""
        return {
            "kind": self.found.kind,
            "version": self.found.version,
            "executable": self.found.executable,
            "address": self.config.address,
            "port": self.port,
            "workers": self.config.workers,
            "tls_min": self.config.tls_min,
            "tls_max": self.config.tls_max,
            "offers": self.offers.as_dict(),
        }


@dataclass(frozen=True)
class Clock:
    """The host's clock seen from here."""

    offset_ns: int  # host's minus ours
    uncertainty_ns: int  # half of the shortest question's round trip


def start(session: Session, kind: str, config: ServerConfig, port: int) -> Served:
    """Copy the files that ``config`` names, and start the server there (``port`` 0: a free one).

    LinkUnavailableError when the host lacks what is needed, LinkError when it does not work.
    """
    found = find(session, kind)
    there = _copied(session, config)
    taken = session.ask("port", address=there.address, port=port)["port"]
    leaf, key_type = leaf_of(config.certificate_chain)
    look = ["tls", there.address, str(taken), config.server_name, leaf, f"/{READY_NAME}", str(_ANSWER_S)]
    answer = session.ask("serve", argv=_argv(session, found, there, taken), look=look)
    offers = Offer(tuple(answer["versions"]), answer["ciphers"], tuple(answer["alpn"]), key_type)
    return Served(found, there, taken, offers)


def find(session: Session, kind: str) -> Found:
    """The server to be started; granian is installed when it must be."""
    has = session.ask("find")
    missing = []
    if kind in {"auto", "nginx"}:
        try:
            return _nginx(has["nginx"])
        except WebServerError as error:
            missing.append(str(error).rstrip("."))
    if kind in {"auto", "granian"}:
        if has["granian"] is not None:
            return _granian(has["granian"]["python"], has["granian"]["version"])
        version = importlib.metadata.version("granian")
        try:
            installed = session.ask("install", package=f"granian=={version}", patience_s=_INSTALL_S)
        except LinkError as error:
            missing.append(f"granian cannot be installed ({error})")
        else:
            return _granian(installed["python"], version)
    raise LinkUnavailableError(
        f"No web server can be started on {session.host}: {'; '.join(missing)}. nginx 1.19.5 or newer on it is enough."
    )


def _nginx(has: dict[str, str] | None) -> Found:
    if has is None:
        raise WebServerError("there is no nginx.")
    number, text = nginx.read_version(has["text"])
    if number < nginx.OLDEST:
        raise WebServerError(f"{text} is too old.")
    return Found("nginx", has["executable"], text)


def _granian(python: str, version: str) -> Found:
    return Found("granian", python, f"granian {version}, rustls")


def _copied(session: Session, config: ServerConfig) -> ServerConfig:
    address = session.hello["address"]
    if address is None:
        raise LinkError(f"{session.host} does not say at which of its addresses ssh arrived (SSH_CONNECTION).")
    for program in (guard.__file__, probe.__file__, granian.CHILD):
        session.copy(Path(program).name, Path(program))
    session.copy(f"www/{READY_NAME}", READY)
    for path in sorted(config.document_root.iterdir()):
        session.copy(f"www/{path.name}", path)
    return replace(
        config,
        address=address,
        document_root=session.directory / "www",
        certificate_chain=session.copy("chain.pem", config.certificate_chain),
        private_key=session.copy("key.pem", config.private_key),
        run_directory=session.directory,
        workers=config.workers or int(session.hello["cores"]),
        argv_prefix=(),
    )


def _argv(session: Session, found: Found, there: ServerConfig, port: int) -> list[str]:
    try:
        if found.kind == "granian":
            return granian.command(found.executable, session.directory / granian.CHILD.name, there, port)
        text = nginx.configuration(there, port, as_root=bool(session.hello["root"]))
    except WebServerError as error:
        raise LinkError(str(error)) from error
    return nginx.command(found.executable, session.directory, session.copy("nginx.conf", text.encode()))


def look_at_clock(session: Session) -> Clock:
    """Ask the host for its time, a few times."""
    looks = []
    for _ in range(_CLOCK_LOOKS):
        before_ns = time.time_ns()
        there_ns = int(session.ask("clock")["ns"])
        looks.append((before_ns, there_ns, time.time_ns()))
    return clock_of(looks)


def clock_of(looks: Sequence[tuple[int, int, int]]) -> Clock:
    """From (asked, answered there, heard), first and last by our clock: the quickest answer says most, as in NTP."""
    asked, there, heard = min(looks, key=lambda look: look[2] - look[0])
    return Clock(there - (asked + heard) // 2, (heard - asked) // 2)


def host_of(hello: dict[str, Any]) -> dict[str, object]:
    """What of the host's own description belongs in environment.json."""
    return {name: hello[name] for name in ("kernel", "machine", "cores", "python", "tcp_wmem")}
