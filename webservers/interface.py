"""What every web server of the experiment looks like from outside, and what can go wrong with one.

A caller makes a :class:`ServerConfig`, gives it to a :class:`WebServer` (see :func:`webservers.make`) and
says::

    async with server:
        ...  # it answers TLS on server.address, server.port

or ``await server.start()`` and ``await server.stop()``.  When ``start`` has returned, the server has
completed a real handshake and a short GET, and has shown the very certificate it was given (with
``secure=False`` it has answered the GET).  Everything runs under trio.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

TlsVersion = Literal["TLSv1.2", "TLSv1.3"]
TLS_VERSIONS: tuple[TlsVersion, ...] = ("TLSv1.2", "TLSv1.3")


class WebServerError(Exception):
    """A server went wrong; the text is one clear sentence for the user (further lines: its log)."""


class NotAvailableError(WebServerError):
    """The machine does not have that server; the text says what would make it available."""


class PortInUseError(WebServerError):
    """Somebody else listens where the server should."""


class ServerStartError(WebServerError):
    """The server died or did not answer in time before it was ready; ends in the tail of its log."""


class ServerDiedError(WebServerError):
    """The server ended while it was needed (see :meth:`WebServer.watch`); ends in the tail of its log."""


@dataclass(frozen=True)
class ServerConfig:
    """What a server needs to know.  Nothing is read or checked before ``start``."""

    document_root: Path  # what lies in it when the server starts is served under "/"; start adds ready.txt
    certificate_chain: Path  # PEM, leaf first
    private_key: Path  # PEM
    run_directory: Path  # made by start (0700): configuration, logs; the caller removes it
    server_name: str = "server.ssa.test"  # SNI that the readiness check sends
    address: str = "127.0.0.1"  # IP literal to listen on
    port: int = 0  # 0: a free one is chosen
    workers: int = 1  # threads (granian, caddy) or processes (the others) that serve
    tls_min: TlsVersion = "TLSv1.3"
    tls_max: TlsVersion = "TLSv1.3"
    secure: bool = True  # False: plain HTTP, the same in all else; certificate and key are not looked at
    argv_prefix: tuple[str, ...] = ()  # e.g. a link's server_argv_prefix: runs the server in a namespace
    start_timeout_s: float = 15.0
    stop_grace_s: float = 3.0  # between SIGTERM and SIGKILL


@dataclass(frozen=True)
class Offer:
    """What the server agreed to in real handshakes (not what its configuration says); of a plain one, nothing."""

    versions: tuple[str, ...]  # that a handshake succeeded with, oldest first
    ciphers: dict[str, str]  # version -> suite that was negotiated with it
    alpn: tuple[str, ...]  # of h2 and http/1.1, each offered alone: those that were selected
    key_type: str  # of the leaf: "ecdsa-p256", "rsa-2048", ...

    def as_dict(self) -> dict[str, object]:
        """For environment.json."""
        return {
            "versions": list(self.versions),
            "ciphers": dict(self.ciphers),
            "alpn": list(self.alpn),
            "key_type": self.key_type,
        }


class WebServer(ABC):
    """One web server as a process tree of its own.  Starts once; for another run make another object."""

    kind: ClassVar[str]  # "granian", "nginx", ...: the name in plans, records and on the command line

    def __init__(self, config: ServerConfig) -> None:
        self.config = config

    @property
    @abstractmethod
    def version(self) -> str:
        """Name and version of the server and of its TLS library, e.g. ``nginx 1.22.1, OpenSSL 3.0.19``."""

    @property
    @abstractmethod
    def offers(self) -> Offer:
        """What TLS it offers, as negotiated when it started.  RuntimeError before ``start``."""

    @property
    def address(self) -> str:
        """IP literal that it listens on."""
        return self.config.address

    @property
    @abstractmethod
    def port(self) -> int:
        """Port that it listens on (the chosen one when 0 was asked for).  RuntimeError before ``start``."""

    @abstractmethod
    def url(self, name: str) -> str:
        """``https://server.ssa.test:PORT/NAME``, of a plain server ``http://...``."""

    @abstractmethod
    def pids(self) -> list[int]:
        """Every process of the server now, for CPU accounting; empty when it does not run."""

    @property
    @abstractmethod
    def alive(self) -> bool:
        """Whether it has been started and has not ended."""

    @abstractmethod
    async def start(self) -> None:
        """Start it and wait until it answers.

        Raises :class:`NotAvailableError`, :class:`PortInUseError` or :class:`ServerStartError`; when it
        raises (or is cancelled) nothing is left running.
        """

    @abstractmethod
    async def stop(self) -> None:
        """SIGTERM, after ``stop_grace_s`` SIGKILL, until all of it is gone.  Harmless when not started."""

    @abstractmethod
    async def watch(self) -> None:
        """Wait while it lives; return after ``stop``, raise :class:`ServerDiedError` when it ends without."""

    @abstractmethod
    def describe(self) -> dict[str, object]:
        """For environment.json: kind, version, executable, address, port, workers, TLS range, offers."""

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()


@dataclass(frozen=True)
class Availability:
    """One line of :func:`webservers.available`."""

    kind: str
    usable: bool
    version: str = ""  # when usable
    executable: str = ""  # when usable
    reason: str = ""  # when not: why, and what would make it work
    notes: tuple[str, ...] = field(default=())
