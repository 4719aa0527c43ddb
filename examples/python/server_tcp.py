"""An echo server, one thread for each client: server_tcp.py ADDRESS PORT."""

import contextlib
import signal
import socket
import sys
import threading


def echo(client):
    with contextlib.suppress(ConnectionError), client, client.makefile("rwb") as stream:
        for line in stream:
            stream.write(line)
            stream.flush()


signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
address, port = sys.argv[1:3]
with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as s:
    try:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind((address, int(port)))
        s.listen()
        print(f"listening on {s.getsockname()[1]}", flush=True)
        while True:
            client, _ = s.accept()
            threading.Thread(target=echo, args=(client,), daemon=True).start()
    except OSError as error:
        sys.exit(f"server: {error}")
