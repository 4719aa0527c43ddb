"""The metrics over HTTP/1.1 on a unix socket, for whatever scrapes OpenMetrics (trio).

One request, one response, then the connection ends (RFC 9112 section 9.6).  Root and the daemon's user only.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from pathlib import Path

import trio

from .interface import Caller, Refused
from .openmetrics import CONTENT_TYPE
from .service import take_callers

_HEAD_BYTES = 8192
_PATIENCE_S = 10.0
_PATHS = {b"/", b"/metrics"}


def metrics_path(control: Path) -> Path:
    """Return where the daemon with this control socket shows its metrics."""
    return control.with_name(control.name + ".metrics")


async def serve(listener: socket.socket, text: Callable[[], Awaitable[str]], daemon_uid: int) -> None:
    """Answer scrapers until cancelled; ``text`` makes the exposition and may raise Refused."""

    async def converse(stream: trio.SocketStream, caller: Caller) -> None:
        with trio.fail_after(_PATIENCE_S):
            head = await _head(stream)
        status, body, content_type = HTTPStatus.FORBIDDEN, "only root and the daemon's user may read this\n", ""
        if caller.administers(daemon_uid):
            status, body, content_type = await _respond(head, text)
        with trio.fail_after(_PATIENCE_S):
            await stream.send_all(_response(status, body, content_type))
            await stream.send_eof()

    await take_callers(listener, converse)


async def _head(stream: trio.SocketStream) -> bytes:
    """Return the request's head; what is cut short or too long is no request."""
    head = bytearray()
    while b"\r\n\r\n" not in head:
        data = await stream.receive_some(_HEAD_BYTES)
        head += data
        if not data or len(head) > _HEAD_BYTES:
            return b""
    return bytes(head)


async def _respond(head: bytes, text: Callable[[], Awaitable[str]]) -> tuple[HTTPStatus, str, str]:
    words = head.split(b"\r\n", 1)[0].split(b" ")
    if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
        return HTTPStatus.BAD_REQUEST, "not a request of HTTP/1.1\n", ""
    if words[0] != b"GET":
        return HTTPStatus.METHOD_NOT_ALLOWED, "GET is the only method\n", ""
    if words[1].split(b"?")[0] not in _PATHS:
        return HTTPStatus.NOT_FOUND, "the metrics are at /metrics\n", ""
    try:
        return HTTPStatus.OK, await text(), CONTENT_TYPE
    except Refused as refusal:
        return HTTPStatus.SERVICE_UNAVAILABLE, f"{refusal.text}\n", ""


def _response(status: HTTPStatus, body: str, content_type: str) -> bytes:
    data = body.encode()
    head = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        f"Content-Type: {content_type or 'text/plain; charset=utf-8'}",
        f"Content-Length: {len(data)}",
        "Connection: close",
    ]
    if status is HTTPStatus.METHOD_NOT_ALLOWED:
        head.append("Allow: GET")
    return "\r\n".join([*head, "", ""]).encode("ascii") + data
