"""A web server on loopback that answers as it is told, badly too."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import trio


class Web:
    """``answer`` is sent to each request as it is, then the connection is closed; None: nothing is ever answered."""

    def __init__(self, listener: trio.SocketListener) -> None:
        self.port: int = listener.socket.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}/there"
        self.answer: bytes | None = b""
        self.requests: list[bytes] = []

    def say(self, content: bytes, status: str = "200 OK", headers: str = "") -> None:
        """Answer with a content."""
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(content)}\r\n{headers}\r\n"
        self.answer = head.encode() + content

    async def serve(self, stream: trio.SocketStream) -> None:
        async with stream:
            received = b""
            while not _complete(received):
                more = await stream.receive_some()
                if not more:
                    return
                received += more
            self.requests.append(received)
            if self.answer is None:
                await trio.sleep_forever()
            assert self.answer is not None
            with contextlib.suppress(trio.BrokenResourceError):  # whoever has read enough may go
                await stream.send_all(self.answer)


def _complete(request: bytes) -> bool:
    head, end, body = request.partition(b"\r\n\r\n")
    length = next((line.split(b":")[1] for line in head.split(b"\r\n") if line.startswith(b"Content-Length")), b"0")
    return bool(end) and len(body) >= int(length)


@contextlib.asynccontextmanager
async def web() -> AsyncIterator[Web]:
    """Serve until the block ends."""
    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        made = Web(listener)
        nursery.start_soon(trio.serve_listeners, made.serve, [listener])
        yield made
        nursery.cancel_scope.cancel()
