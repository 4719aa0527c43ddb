"""A small program that looks at a server from where it runs: is the port free, does it answer TLS.

Run by path, with the standard library only (``python -I -S probe.py ...``), so that the same argv prefix
that puts a server in a namespace puts the question there too.  Prints one JSON object and exits 0 whatever
the answer:

``port ADDRESS PORT``
    ``{"port": N}`` (chosen by the kernel if PORT is 0), or ``{"error": TEXT, "errno": N}``.
``tls ADDRESS PORT NAME LEAF_SHA256 PATH TIMEOUT_S``
    Asks again and again until a GET of PATH has been answered with 200 by a server that shows that leaf
    certificate: ``{"versions": [...], "ciphers": {...}, "alpn": [...]}``, or ``{"error": TEXT}`` at the end
    of the time.  It does not verify the chain: servers with wrong certificates must start too.
``http ADDRESS PORT NAME PATH TIMEOUT_S``
    The same without TLS: nothing is offered.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import socket
import ssl
import sys
import time
from collections.abc import Callable, Iterator

VERSIONS = {"TLSv1.2": ssl.TLSVersion.TLSv1_2, "TLSv1.3": ssl.TLSVersion.TLSv1_3}
PROTOCOLS = ("h2", "http/1.1")

_ATTEMPT_S = 5.0  # for one handshake or answer of a server that has accepted
_PAUSE_S = 0.01  # between two refused connects


class _NotThisServerError(Exception):
    pass


def family_of(address: str) -> socket.AddressFamily:
    """AF_INET6 for an IP literal with a colon, else AF_INET."""
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def port(address: str, wanted: int) -> dict[str, object]:
    """Take a port for a moment: TIME_WAIT does not matter, a listener does (even one with SO_REUSEPORT)."""
    try:
        with socket.socket(family_of(address), socket.SOCK_STREAM) as taken:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            taken.bind((address, wanted))
            return {"port": taken.getsockname()[1]}
    except OSError as error:
        return {"error": error.strerror or str(error), "errno": error.errno}


def _context(version: ssl.TLSVersion | None = None, protocol: str | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if version is not None:
        context.minimum_version = context.maximum_version = version
    if protocol is not None:
        context.set_alpn_protocols([protocol])
    return context


@contextlib.contextmanager
def _connected(address: str, number: int, name: str, context: ssl.SSLContext) -> Iterator[ssl.SSLSocket]:
    with (
        socket.create_connection((address, number), timeout=_ATTEMPT_S) as plain,
        context.wrap_socket(plain, server_hostname=name) as secure,
    ):
        yield secure


def get(address: str, number: int, name: str, leaf_sha256: str, path: str) -> None:
    """One handshake and one GET; _NotThisServerError, OSError (with ssl.SSLError) if it is not a 200."""
    with _connected(address, number, name, _context()) as secure:
        leaf = secure.getpeercert(binary_form=True) or b""
        if hashlib.sha256(leaf).hexdigest() != leaf_sha256:
            raise _NotThisServerError("a server with another certificate answers there")
        _get(secure, name, path)


def get_plain(address: str, number: int, name: str, path: str) -> None:
    """One GET without TLS; _NotThisServerError, OSError if it is not a 200."""
    with socket.create_connection((address, number), timeout=_ATTEMPT_S) as plain:
        _get(plain, name, path)


def _get(stream: socket.socket, name: str, path: str) -> None:
    stream.sendall(f"GET {path} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
    status = stream.makefile("rb").readline(1000)
    if status.split()[1:2] != [b"200"]:
        raise _NotThisServerError(f"GET {path} was answered with {status.decode('latin-1').strip()!r}")


def offers(address: str, number: int, name: str) -> dict[str, object]:
    """What it agrees to, one handshake each."""
    ciphers: dict[str, str] = {}
    for version, value in VERSIONS.items():
        with contextlib.suppress(OSError), _connected(address, number, name, _context(value)) as secure:
            ciphers[version] = (secure.cipher() or ("",))[0]
    selected = []
    for protocol in PROTOCOLS:
        with (
            contextlib.suppress(OSError),
            _connected(address, number, name, _context(protocol=protocol)) as secure,
        ):
            if secure.selected_alpn_protocol() == protocol:
                selected.append(protocol)
    return {"versions": list(ciphers), "ciphers": ciphers, "alpn": selected}


def tls(  # noqa: PLR0917 (the command line, in its order)
    address: str, number: int, name: str, leaf_sha256: str, path: str, timeout_s: float
) -> dict[str, object]:
    """Wait until :func:`get` succeeds, then :func:`offers`."""
    error = _until(lambda: get(address, number, name, leaf_sha256, path), timeout_s)
    return {"error": error} if error else offers(address, number, name)


def http(address: str, number: int, name: str, path: str, timeout_s: float) -> dict[str, object]:
    """Wait until :func:`get_plain` succeeds."""
    error = _until(lambda: get_plain(address, number, name, path), timeout_s)
    return {"error": error} if error else {"versions": [], "ciphers": {}, "alpn": []}


def _until(succeeds: Callable[[], None], timeout_s: float) -> str:
    """Try again and again; what went wrong last when the time is up."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            succeeds()
        except (OSError, _NotThisServerError) as error:
            if time.monotonic() > deadline:
                return str(error)
            time.sleep(_PAUSE_S)
        else:
            return ""


def main(argv: list[str]) -> int:
    """Answer one question."""
    if argv[0] == "port":
        answer = port(argv[1], int(argv[2]))
    elif argv[0] == "http":
        answer = http(argv[1], int(argv[2]), argv[3], argv[4], float(argv[5]))
    else:
        answer = tls(argv[1], int(argv[2]), argv[3], argv[4], argv[5], float(argv[6]))
    sys.stdout.write(json.dumps(answer) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
