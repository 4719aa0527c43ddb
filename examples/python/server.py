"""An echo server over TLS, one thread for each client: server.py ADDRESS PORT CHAIN KEY."""

import contextlib
import signal
import socket
import sys
import threading

IPPROTO_TLS, TLS_CERTIFICATE_CHAIN, TLS_PRIVATE_KEY, TLS_ERROR = 205, 88, 89, 100


def echo(client):
    with contextlib.suppress(ConnectionError), client, client.makefile("rwb") as stream:
        for line in stream:
            stream.write(line)
            stream.flush()


signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
address, port = sys.argv[1:3]
with socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_TLS) as s:
    try:
        s.setsockopt(IPPROTO_TLS, TLS_CERTIFICATE_CHAIN, sys.argv[3].encode() + b"\0")
        s.setsockopt(IPPROTO_TLS, TLS_PRIVATE_KEY, sys.argv[4].encode() + b"\0")
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind((address, int(port)))
        s.listen()
        print(f"listening on {s.getsockname()[1]}", flush=True)
        while True:
            client, _ = s.accept()
            threading.Thread(target=echo, args=(client,), daemon=True).start()
    except OSError as error:
        sys.exit(f"server: {error}: {s.getsockopt(IPPROTO_TLS, TLS_ERROR, 1024)[:-1].decode()}")
