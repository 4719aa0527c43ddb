"""HTTP to revocation responders, with the care that foreign addresses need.

The address stands in a certificate, so its authority chose it and not the peer; still: http only, no redirects, no
proxies, no credentials, public addresses only unless the administrator allows others, and a bounded answer.
The time is the strategy's.
"""

from __future__ import annotations

import http.client
import io
import ipaddress
import os
import socket
from dataclasses import dataclass
from urllib.parse import urlsplit
from weakref import WeakValueDictionary

import trio

from ..strategy import in_thread

_REQUESTS_AT_ONCE = 256
_REQUESTS_TO_ONE = 32
"""to one address: a responder that hangs keeps nobody from asking another one"""
_HEADER_BYTES = 65_536
_BESIDE_BYTES = 16_384
"""an answer of more is taken apart in a thread: in chunks of a byte each, a list would hold everybody up for seconds"""
_limit = trio.CapacityLimiter(_REQUESTS_AT_ONCE)
_limits: WeakValueDictionary[tuple[str, int], trio.CapacityLimiter] = WeakValueDictionary()


class FetchError(Exception):
    """There is no usable answer; the text says why."""


@dataclass(frozen=True)
class Bounds:
    """What a fetch may do."""

    max_bytes: int
    private_addresses: bool = False
    """whether addresses are asked that are not public (loopback, link-local, private networks)"""


async def fetch(url: str, bounds: Bounds, body: bytes | None = None, content_type: str = "") -> bytes:
    """Return the content of an http address; ``body``: by POST.  Raises FetchError."""
    host, port, target = _parts(url)
    lines = [f"{'GET' if body is None else 'POST'} {target} HTTP/1.1", f"Host: {_host_header(host, port)}"]
    lines += ["Connection: close", "Accept: */*", "User-Agent: ssad"]
    if body is not None:
        lines += [f"Content-Type: {content_type}", f"Content-Length: {len(body)}"]
    head = "\r\n".join([*lines, "", ""]).encode("ascii")
    async with _limits.setdefault((host, port), trio.CapacityLimiter(_REQUESTS_TO_ONE)), _limit:
        received = await _exchange(host, port, head + (body or b""), bounds)
        if len(received) <= _BESIDE_BYTES:
            return _content(received, bounds)
        return await in_thread(_content, received, bounds)


def _parts(url: str) -> tuple[str, int, str]:
    try:
        parts = urlsplit(url)
        port = parts.port or 80
    except ValueError:
        raise FetchError("the address is malformed") from None
    if parts.scheme != "http" or not parts.hostname or parts.username is not None:
        raise FetchError("only addresses of plain http without a user are asked")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    if not (target + parts.hostname).isascii() or any(
        c.isspace() or not c.isprintable() for c in target + parts.hostname
    ):
        raise FetchError("the address is malformed")
    return parts.hostname, port, target


def _host_header(host: str, port: int) -> str:
    name = f"[{host}]" if ":" in host else host
    return name if port == 80 else f"{name}:{port}"


async def _exchange(host: str, port: int, request: bytes, bounds: Bounds) -> bytes:
    try:
        stream = await _connect(host, port, bounds)
        async with stream:
            await stream.send_all(request)
            received = b""
            while more := await stream.receive_some():
                received += more
                if len(received) > bounds.max_bytes + _HEADER_BYTES:
                    raise FetchError(f"the answer is larger than {bounds.max_bytes} bytes")
            return received
    except trio.BrokenResourceError:
        raise FetchError("the connection broke") from None
    except OSError as error:
        raise FetchError(os.strerror(error.errno) if error.errno else str(error)) from None


async def _connect(host: str, port: int, bounds: Bounds) -> trio.SocketStream:
    """Connect to the first address that answers.  OSError, FetchError."""
    try:
        found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        raise FetchError(f"the name {host} cannot be resolved") from None
    allowed = [entry for entry in found if bounds.private_addresses or is_public(str(entry[4][0]))]
    if not allowed:
        raise FetchError(f"{host} is no public address, and private_addresses is not set")
    for family, kind, protocol, _, address in allowed[:-1]:
        attempt = trio.socket.socket(family, kind, protocol)
        try:
            await attempt.connect(address)
        except OSError:
            attempt.close()
        else:
            return trio.SocketStream(attempt)
    family, kind, protocol, _, address = allowed[-1]
    attempt = trio.socket.socket(family, kind, protocol)
    try:
        await attempt.connect(address)
    except BaseException:
        attempt.close()
        raise
    return trio.SocketStream(attempt)


def is_public(address: str) -> bool:
    """Whether an address belongs to the public internet."""
    parsed = ipaddress.ip_address(address.partition("%")[0])
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return (mapped or parsed).is_global and not parsed.is_multicast


class _Received(io.BytesIO):
    """What http.client takes for a socket."""

    def makefile(self, *_: object) -> _Received:
        return self


def _content(received: bytes, bounds: Bounds) -> bytes:
    response = http.client.HTTPResponse(_Received(received))  # type: ignore[arg-type]  # it reads and nothing else
    try:
        response.begin()
        if response.status != 200:
            raise FetchError(f"the responder answered {response.status}")
        content = response.read(bounds.max_bytes + 1)
        rest = response.length
    except (http.client.HTTPException, ValueError, OSError):
        raise FetchError("the answer is no HTTP") from None
    if len(content) > bounds.max_bytes:
        raise FetchError(f"the answer is larger than {bounds.max_bytes} bytes")
    if rest:
        raise FetchError("the answer was cut short")
    return content
