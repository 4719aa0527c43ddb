"""An echo server over TLS on asyncio's sock_* calls: server.py ADDRESS PORT CHAIN KEY."""

import asyncio
import contextlib
import signal
import socket
import sys

IPPROTO_TLS, TLS_CERTIFICATE_CHAIN, TLS_PRIVATE_KEY, TLS_ERROR = 205, 88, 89, 100


async def echo(client):
    loop = asyncio.get_running_loop()
    with contextlib.suppress(ConnectionError), client:
        while text := await loop.sock_recv(client, 65536):
            await loop.sock_sendall(client, text)


async def serve(address, port):
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, asyncio.current_task().cancel)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_TLS) as s:
        try:
            s.setsockopt(IPPROTO_TLS, TLS_CERTIFICATE_CHAIN, sys.argv[3].encode() + b"\0")
            s.setsockopt(IPPROTO_TLS, TLS_PRIVATE_KEY, sys.argv[4].encode() + b"\0")
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.setblocking(False)
            s.bind((address, int(port)))
            s.listen()
            print(f"listening on {s.getsockname()[1]}", flush=True)
            clients = set()
            while True:
                client, _ = await loop.sock_accept(s)
                clients.add(task := loop.create_task(echo(client)))
                task.add_done_callback(clients.discard)
        except OSError as error:
            sys.exit(f"server: {error}: {s.getsockopt(IPPROTO_TLS, TLS_ERROR, 1024)[:-1].decode()}")


with contextlib.suppress(asyncio.CancelledError):
    asyncio.run(serve(*sys.argv[1:3]))
