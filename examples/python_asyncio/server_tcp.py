"""An echo server on asyncio's sock_* calls: server_tcp.py ADDRESS PORT."""

import asyncio
import contextlib
import signal
import socket
import sys


async def echo(client):
    loop = asyncio.get_running_loop()
    with contextlib.suppress(ConnectionError), client:
        while text := await loop.sock_recv(client, 65536):
            await loop.sock_sendall(client, text)


async def serve(address, port):
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, asyncio.current_task().cancel)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as s:
        try:
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
            sys.exit(f"server: {error}")


with contextlib.suppress(asyncio.CancelledError):
    asyncio.run(serve(*sys.argv[1:3]))
