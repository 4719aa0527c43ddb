"""A server as a process tree: started behind the guard, asked by the probe, ended.  Here we wait (trio)."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import signal
import ssl
import subprocess
import sys
from abc import abstractmethod
from pathlib import Path

import trio

from webservers import guard, probe
from webservers.certificates import key_type_of
from webservers.interface import (
    Availability,
    NotAvailableError,
    Offer,
    PortInUseError,
    ServerConfig,
    ServerDiedError,
    ServerStartError,
    WebServer,
    WebServerError,
)

_LIGHT = (sys.executable, "-I", "-S")  # no site: starts in about 10 ms
_TAIL_LINES = 10
_PORT_TRIES = 3  # a free port that was chosen may be taken by somebody before the server has it
_KILL_S = 2.0  # for the guard to end its tree after the grace
READY_NAME, READY = "ready.txt", b"ready\n"


class ProcessServer(WebServer):
    """What all servers have in common.  A subclass says its command, and writes its configuration."""

    def __init__(self, config: ServerConfig) -> None:
        super().__init__(config)
        self._port: int | None = None
        self._offers: Offer | None = None
        self._process: trio.Process | None = None
        self._lifeline: int | None = None  # write end of the guard's stdin: closed when we die
        self._stopping = False

    @classmethod
    @abstractmethod
    def availability(cls) -> Availability:
        """Whether this machine has it; never raises."""

    @abstractmethod
    def _command(self, port: int) -> list[str]:
        """Write what it needs into the run directory, and return its argv.  May raise WebServerError."""

    @property
    def version(self) -> str:
        return self.availability().version

    @property
    def offers(self) -> Offer:
        if self._offers is None:
            raise RuntimeError(f"{self.kind} has not been started")
        return self._offers

    @property
    def port(self) -> int:
        if self._port is None:
            raise RuntimeError(f"{self.kind} has not been started")
        return self._port

    def url(self, name: str) -> str:
        scheme = "https" if self.config.secure else "http"
        return f"{scheme}://{self.config.server_name}:{self.port}/{name}"

    @property
    def log(self) -> Path:
        """Where its standard output and error go."""
        return self.config.run_directory / f"{self.kind}.log"

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def pids(self) -> list[int]:
        return guard.descendants(self._process.pid) if self._process is not None and self.alive else []

    def describe(self) -> dict[str, object]:
        return {
            "kind": self.kind,
            "version": self.version,
            "executable": self.availability().executable,
            "address": self.address,
            "port": self.port,
            "workers": self.config.workers,
            "secure": self.config.secure,
            "tls_min": self.config.tls_min,
            "tls_max": self.config.tls_max,
            "offers": self.offers.as_dict(),
        }

    async def start(self) -> None:
        if self._process is not None:
            raise RuntimeError(f"{self.kind} has been started before; make another object")
        found = self.availability()
        if not found.usable:
            raise NotAvailableError(found.reason)
        try:
            self._prepare_files()
        except OSError as error:
            raise ServerStartError(f"{self.kind} has no place to work: {error.strerror}: {error.filename}.") from error
        for attempt in range(1, _PORT_TRIES + 1):
            try:
                await self._start_once()
            except PortInUseError:
                if self.config.port != 0 or attempt == _PORT_TRIES:
                    raise
            else:
                return

    def _prepare_files(self) -> None:
        self.config.run_directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self.config.document_root / READY_NAME).write_bytes(READY)

    async def _start_once(self) -> None:
        port = await self._take_port()
        argv = self._command(port)
        try:
            await self._spawn(argv)
            self._offers = await self._wait_until_ready(port)
            self._port = port
        except BaseException:
            await self.stop()
            self._process, self._stopping = None, False
            raise

    async def _ask(self, *question: str) -> dict[str, object]:
        """Run the probe where the server runs.  Killed when cancelled."""
        argv = [*self.config.argv_prefix, *_LIGHT, probe.__file__, *question]
        done = await trio.run_process(argv, capture_stdout=True, capture_stderr=True, check=False)
        if done.returncode != 0:
            said = done.stderr.decode(errors="replace").strip().splitlines()
            raise ServerStartError(
                f"Cannot look for {self.kind} at {self.address}: {said[-1] if said else 'no answer'}."
            )
        answer: dict[str, object] = json.loads(done.stdout)
        return answer

    async def _take_port(self) -> int:
        answer = await self._ask("port", self.address, str(self.config.port))
        if "error" not in answer:
            return int(str(answer["port"]))
        where = f"{self.address} port {self.config.port}"
        if answer["errno"] == errno.EADDRINUSE:
            raise PortInUseError(f"{where} is in use by another program; choose another port, or 0 for a free one.")
        raise ServerStartError(f"{self.kind} cannot listen on {where}: {answer['error']}.")

    async def _spawn(self, argv: list[str]) -> None:
        whole = [
            *self.config.argv_prefix,
            *_LIGHT,
            guard.__file__,
            str(self.config.stop_grace_s),
            "--",
            *argv,
        ]
        lifeline_read, self._lifeline = os.pipe2(os.O_CLOEXEC)
        try:
            with self.log.open("wb") as log:
                self._process = await trio.lowlevel.open_process(
                    whole, stdin=lifeline_read, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
                )
        finally:
            os.close(lifeline_read)

    async def _wait_until_ready(self, port: int) -> Offer:
        answer: dict[str, object] = {"error": f"no answer within {self.config.start_timeout_s:g} s"}
        question, key_type = self._question(port)
        with trio.move_on_after(self.config.start_timeout_s + 1):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._cancel_when_dead, nursery.cancel_scope)
                answer = await self._ask(*question)
                nursery.cancel_scope.cancel()
        if not self.alive:
            raise self._start_error(port)
        if "error" in answer:
            what = "TLS" if self.config.secure else "HTTP"
            raise ServerStartError(
                f"{self.kind} did not answer {what} at {self.address} port {port} within "
                f"{self.config.start_timeout_s:g} s ({answer['error']}).{self._tail()}"
            )
        return _offer(answer, key_type)

    def _question(self, port: int) -> tuple[list[str], str]:
        """What the probe is asked, and the kind of the certificate's key."""
        where, path = [self.address, str(port), self.config.server_name], f"/{READY_NAME}"
        if not self.config.secure:
            return ["http", *where, path, str(self.config.start_timeout_s)], ""
        leaf, key_type = leaf_of(self.config.certificate_chain)
        return ["tls", *where, leaf, path, str(self.config.start_timeout_s)], key_type

    async def _cancel_when_dead(self, scope: trio.CancelScope) -> None:
        if self._process is not None:
            await self._process.wait()
        scope.cancel()

    def _start_error(self, port: int) -> WebServerError:
        tail = self._tail()
        if "address already in use" in tail.lower():
            return PortInUseError(f"{self.address} port {port} is in use by another program; choose another port.")
        return ServerStartError(f"{self.kind} ended before it answered, {self._ending()}.{tail}")

    def _ending(self) -> str:
        status = self._process.returncode if self._process is not None else None
        return f"with exit status {status}"

    def _tail(self) -> str:
        lines = self.log.read_text(errors="replace").strip().splitlines()[-_TAIL_LINES:] if self.log.exists() else []
        return "\n  ".join([" It said:", *lines]) if lines else " It said nothing."

    async def watch(self) -> None:
        if self._process is None:
            raise RuntimeError(f"{self.kind} has not been started")
        await self._process.wait()
        if not self._stopping:
            raise ServerDiedError(f"{self.kind} ended while it was needed, {self._ending()}.{self._tail()}")

    async def stop(self) -> None:
        self._stopping = True
        if self._lifeline is None:
            return
        os.close(self._lifeline)
        self._lifeline = None
        if self._process is None:
            return
        with trio.CancelScope(shield=True):
            with trio.move_on_after(self.config.stop_grace_s + _KILL_S):
                await self._process.wait()
            with contextlib.suppress(ProcessLookupError):  # who is left when the guard hangs, or was killed
                os.killpg(self._process.pid, signal.SIGKILL)
            await self._process.wait()


def leaf_of(chain: Path) -> tuple[str, str]:
    """SHA-256 of the first certificate's DER, and its kind of key; WebServerError when there is none."""
    try:
        pem = chain.read_text(encoding="ascii")
        der = ssl.PEM_cert_to_DER_cert(pem[: pem.index("-----END CERTIFICATE-----") + 25] + "\n")
        return hashlib.sha256(der).hexdigest(), key_type_of(der)
    except (OSError, ValueError) as error:
        raise WebServerError(f"{chain} does not begin with a certificate in PEM: {error}.") from error


def _offer(answer: dict[str, object], key_type: str) -> Offer:
    versions, ciphers, alpn = answer["versions"], answer["ciphers"], answer["alpn"]
    assert isinstance(versions, list)
    assert isinstance(ciphers, dict)
    assert isinstance(alpn, list)
    return Offer(tuple(versions), ciphers, tuple(alpn), key_type)
