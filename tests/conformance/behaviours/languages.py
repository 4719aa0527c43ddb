"""Event loops that drive sockets themselves."""

from __future__ import annotations

import asyncio
import selectors
import socket
from collections.abc import Iterator
from typing import Any

from tests.conformance.behaviour import Deviation, behaviour
from tests.conformance.world import World, hear_end, outcome

CALLS = "2 read, write, poll"


def for_asyncio(s: socket.socket) -> socket.socket:
    """asyncio resolves even addresses by the socket's protocol, and the resolver knows TCP and UDP only."""
    s.setblocking(False)
    return socket.socket(s.family, socket.SOCK_STREAM, socket.IPPROTO_TCP, fileno=s.detach())


@behaviour(
    "asyncio.client",
    "asyncio's sock_connect, sock_sendall and sock_recv work on a socket that is said to be TCP (fileno=).",
    CALLS,
    peer="echoes_side_by_side",
    peer_arguments={"count": 5},
    plain=True,
)
def client(world: World) -> Iterator[tuple[Any, ...]]:
    async def one(number: int) -> str:
        loop = asyncio.get_running_loop()
        with for_asyncio(world.client()) as s:
            await loop.sock_connect(s, world.peer)
            word = str(number).encode() * 5
            await loop.sock_sendall(s, word)
            data = b""
            while len(data) < 5:
                data += await loop.sock_recv(s, 100)
            return data.decode()

    async def all_of_them() -> list[str]:
        return await asyncio.gather(*(one(number) for number in range(5)))

    yield "echoes", asyncio.run(all_of_them()), [str(number) * 5 for number in range(5)]


@behaviour(
    "asyncio.server",
    "asyncio's sock_accept serves several peers at once.",
    CALLS,
    peer="connects_all_at_once",
    peer_arguments={"count": 5},
    seen={"echoes": True},
    plain=True,
)
def server(world: World) -> Iterator[tuple[Any, ...]]:
    async def serve(s: socket.socket) -> str:
        loop, heard = asyncio.get_running_loop(), b""
        with s:
            while piece := await loop.sock_recv(s, 100):
                heard += piece
                await loop.sock_sendall(s, piece)
        return heard.decode()

    async def main() -> list[str]:
        loop = asyncio.get_running_loop()
        with for_asyncio(world.listener()) as listener:
            world.tell(listener.getsockname()[1])
            serving = []
            for _ in range(5):
                s, _ = await loop.sock_accept(listener)
                serving.append(asyncio.create_task(serve(s)))
            return sorted(await asyncio.gather(*serving))

    yield "heard", asyncio.run(main()), list("01234")


@behaviour(
    "asyncio.failure",
    "asyncio's sock_connect raises the errno of a failed connect.",
    CALLS,
    plain=True,
)
def failure(world: World) -> Iterator[tuple[Any, ...]]:
    async def main() -> None:
        with for_asyncio(world.client()) as s:
            await asyncio.get_running_loop().sock_connect(s, world.nowhere)

    yield "connect", outcome(lambda: asyncio.run(main())), "ECONNREFUSED"


@behaviour(
    "asyncio.by-protocol",
    "asyncio's sock_connect takes a socket as socket() made it.",
    CALLS,
    peer="echoes_if_anybody_comes",
    plain=True,
    deviations=tuple(
        Deviation(
            where, "connect", "gaierror", "asyncio asks the resolver for the socket's protocol, which knows TCP only"
        )
        for where in ("seccomp", "preload")
    ),
)
def by_protocol(world: World) -> Iterator[tuple[Any, ...]]:
    async def main() -> str:
        with world.client() as s:
            s.setblocking(False)
            try:
                await asyncio.get_running_loop().sock_connect(s, world.peer)
            except socket.gaierror:
                return "gaierror"
            return "ok"

    yield "connect", asyncio.run(main()), "ok"
    world.tell("tried")


@behaviour(
    "selectors.server",
    "A server with selectors, one loop for the listener and all connections, serves several peers at once.",
    CALLS,
    peer="connects_all_at_once",
    peer_arguments={"count": 8},
    seen={"echoes": True},
    plain=True,
)
def with_selectors(world: World) -> Iterator[tuple[Any, ...]]:
    ended = 0
    with world.listener() as listener, selectors.DefaultSelector() as selector:
        listener.setblocking(False)
        selector.register(listener, selectors.EVENT_READ)
        world.tell(listener.getsockname()[1])
        while ended < 8:
            for key, _ in selector.select(20):
                assert isinstance(key.fileobj, socket.socket)
                if key.fileobj is listener:
                    s, _ = listener.accept()
                    s.setblocking(False)
                    selector.register(s, selectors.EVENT_READ)
                elif piece := key.fileobj.recv(100):
                    key.fileobj.sendall(piece)
                else:
                    selector.unregister(key.fileobj)
                    key.fileobj.close()
                    ended += 1
    yield "ended", ended, 8


@behaviour(
    "stdlib.http",
    "Python's http.client speaks HTTP over a connected socket that it is given, until the end of the stream.",
    CALLS,
    peer="answers_http",
    plain=True,
)
def http(world: World) -> Iterator[tuple[Any, ...]]:
    import http.client

    with world.connected() as s:
        s.sendall(b"GET / HTTP/1.0\r\n\r\n")
        response = http.client.HTTPResponse(s)
        response.begin()
        yield "status", response.status, 200
        yield "body", response.read().decode(), "hello"
        yield "end", hear_end(s)[1], "end"
