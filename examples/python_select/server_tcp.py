"""An echo server, all clients in one select(): server_tcp.py ADDRESS PORT."""

import contextlib
import select
import signal
import socket
import sys


def accept(listener, clients):
    with contextlib.suppress(BlockingIOError):
        client, _ = listener.accept()
        client.setblocking(False)
        clients[client] = b""


def echo(client, clients):
    """Send what waits, or else read: a client that does not read is not read from."""
    try:
        if clients[client]:
            clients[client] = clients[client][client.send(clients[client]) :]
        elif text := client.recv(65536):
            clients[client] = text
        else:
            del clients[client]
            client.close()
    except ConnectionError:
        del clients[client]
        client.close()


signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
address, port = sys.argv[1:3]
clients = {}
with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as s:
    try:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.setblocking(False)
        s.bind((address, int(port)))
        s.listen()
        print(f"listening on {s.getsockname()[1]}", flush=True)
        while True:
            reading = [s, *(client for client, text in clients.items() if not text)]
            readable, writable, _ = select.select(reading, [client for client, text in clients.items() if text], [])
            for ready in readable + writable:
                if ready is s:
                    accept(s, clients)
                else:
                    echo(ready, clients)
    except OSError as error:
        sys.exit(f"server: {error}")
    finally:
        for client in clients:
            client.close()
